"""As much of PyTorch as the workloads ask for: shapes and FLOP, no numbers.

Owns: the shapes of results, and a count of the multiply-adds that were asked for, each as 2 FLOP.
May touch: nothing.
Called by tests of lab.workloads where PyTorch is not installed. What it counts it takes from the
shapes alone, not from the formulas it is held against. Attention is two products forward and four
backward, as PyTorch's own counter has it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


class FakeTensor:
    """A shape and a type on a device."""

    def __init__(self, torch: FakeTorch, shape: tuple[int, ...], dtype: str, device: str) -> None:
        """Nothing is stored."""
        self.torch, self.shape, self.dtype, self.device = torch, shape, dtype, device
        self.requires_grad = False

    def _like(self, shape: tuple[int, ...], dtype: str | None = None) -> FakeTensor:
        made = FakeTensor(self.torch, shape, dtype or self.dtype, self.device)
        made.requires_grad = self.requires_grad
        return made

    def to(self, dtype: str) -> FakeTensor:
        """The same in another type."""
        return self._like(self.shape, dtype)

    def float(self) -> FakeTensor:
        """The same in FP32."""
        return self.to("float32")

    def requires_grad_(self, wanted: bool = True) -> FakeTensor:
        """Ask for its gradient."""
        self.requires_grad = wanted
        return self

    def reshape(self, *shape: Any) -> FakeTensor:
        """Another shape of as many elements."""
        sides = tuple(shape[0]) if isinstance(shape[0], tuple) else shape
        whole = math.prod(self.shape)
        if -1 in sides:
            rest = whole // math.prod(side for side in sides if side != -1)
            sides = tuple(rest if side == -1 else side for side in sides)
        assert math.prod(sides) == whole, (self.shape, sides)
        return self._like(sides)

    view = reshape

    def permute(self, *places: int) -> FakeTensor:
        """Axes in another order."""
        return self._like(tuple(self.shape[place] for place in places))

    def transpose(self, one: int, other: int) -> FakeTensor:
        """Two axes exchanged."""
        sides = list(self.shape)
        sides[one], sides[other] = sides[other], sides[one]
        return self._like(tuple(sides))

    def t(self) -> FakeTensor:
        """Rows and columns exchanged."""
        return self.transpose(0, 1)

    def copy_(self, source: FakeTensor) -> FakeTensor:
        """Take another one's content."""
        assert source.shape == self.shape
        return self

    def backward(self) -> None:
        """Two products for each one on the way here, and what functions say of their own."""
        self.torch.run_backward()

    def __getitem__(self, place: int) -> FakeTensor:
        return self._like(self.shape[1:])

    def __add__(self, other: FakeTensor) -> FakeTensor:
        assert other.shape == self.shape
        return self._like(self.shape)

    def __mul__(self, factor: object) -> FakeTensor:
        return self._like(self.shape)

    def __matmul__(self, other: FakeTensor) -> FakeTensor:
        return self.torch.product(self, other)


class FakeTorch(SimpleNamespace):
    """The module. `flop` and `integer_operations` grow with what is asked for."""

    def __init__(self, *, without: tuple[str, ...] = (), sm_count: int = 132) -> None:
        """Offer everything but what is named."""
        super().__init__()
        self.flop = self.integer_operations = self.additions = 0
        self.compiled: list[str] = []
        self._tape: list[int] = []
        self._functions: list[Callable[[], object]] = []
        for dtype in ("float64", "float32", "bfloat16", "float16", "float8_e4m3fn", "int8"):
            setattr(self, dtype, dtype)
        self.uint8 = "uint8"
        matmul = SimpleNamespace(allow_tf32=None, allow_fp16_accumulation=None)
        self.backends = SimpleNamespace(cuda=SimpleNamespace(matmul=matmul))
        self.nn = SimpleNamespace(functional=_functional(self))
        self.autograd = SimpleNamespace(grad=self._grad, Function=_function(self))
        self.optim = SimpleNamespace(SGD=_Sgd)
        properties = SimpleNamespace(multi_processor_count=sm_count)
        self.cuda = SimpleNamespace(
            get_device_properties=lambda device: properties, _compile_kernel=self._compile
        )
        self._scaled_mm = self._scaled
        self._int_mm = self._integer
        for name in without:
            holder: Any = matmul if name.startswith("allow_") else self
            holder = self.cuda if name == "_compile_kernel" else holder
            delattr(holder, name)

    def product(self, left: FakeTensor, right: FakeTensor, dtype: str | None = None) -> FakeTensor:
        """A matrix product, counted."""
        flop = _product_flop(left, right)
        self.flop += flop
        if left.requires_grad or right.requires_grad:
            self._tape.append(flop)
        return left._like((left.shape[0], right.shape[1]), dtype)

    def count(self, flop: int) -> None:
        """A product of another shape, and its two backward."""
        self.flop += flop
        self._tape.append(flop)

    def remember(self, backward: Callable[[], object]) -> None:
        """A function's own way back."""
        self._functions.append(backward)

    def run_backward(self) -> None:
        """Two products for each one, and the functions' own."""
        self.flop += 2 * sum(self._tape)
        self._tape.clear()
        functions, self._functions = self._functions, []
        for function in functions:
            function()
        self._tape.clear()

    def randn(self, *shape: Any, device: str = "cpu", dtype: str = "float32") -> FakeTensor:
        """A new tensor."""
        sides = tuple(shape[0]) if isinstance(shape[0], tuple) else shape
        return FakeTensor(self, sides, dtype, device)

    empty = zeros = ones = randn

    def randint(
        self, low: int, high: int, shape: tuple[int, ...], *, device: str, dtype: str = "int64"
    ) -> FakeTensor:
        """A new tensor of whole numbers."""
        assert low < high
        return FakeTensor(self, shape, dtype, device)

    def empty_like(self, other: FakeTensor) -> FakeTensor:
        """A new tensor of the same shape."""
        return other._like(other.shape)

    def mm(self, left: FakeTensor, right: FakeTensor, *, out: FakeTensor) -> FakeTensor:
        """A product into a place."""
        assert out.shape == (left.shape[0], right.shape[1]) and out.dtype == left.dtype
        return self.product(left, right)

    def add(self, left: FakeTensor, right: FakeTensor, *, out: FakeTensor) -> FakeTensor:
        """One addition an element."""
        self.additions += math.prod(left.shape)
        return out

    def _scaled(
        self, left: FakeTensor, right: FakeTensor, *, scale_a: Any, scale_b: Any, out_dtype: str
    ) -> FakeTensor:
        assert left.dtype == right.dtype == "float8_e4m3fn"
        return self.product(left, right, out_dtype)

    def _integer(self, left: FakeTensor, right: FakeTensor) -> FakeTensor:
        assert left.dtype == right.dtype == "int8"
        self.integer_operations += _product_flop(left, right)
        return left

    def _grad(self, out: FakeTensor, inputs: list[FakeTensor], upstream: FakeTensor) -> object:
        assert upstream.shape == out.shape
        assert all(tensor.requires_grad for tensor in inputs)
        self.run_backward()
        return inputs

    def _compile(self, source: str, name: str) -> Callable[..., object]:
        assert name in source
        self.compiled.append(source)
        return lambda *, grid, block, args: (grid, block, args)


def _product_flop(left: FakeTensor, right: FakeTensor) -> int:
    assert left.shape[1] == right.shape[0], (left.shape, right.shape)
    return 2 * left.shape[0] * left.shape[1] * right.shape[1]


class _Sgd:
    """An optimizer that changes nothing."""

    def __init__(self, weights: list[FakeTensor], *, lr: float) -> None:
        assert weights and lr > 0

    def zero_grad(self, *, set_to_none: bool) -> None:
        """Forget gradients."""

    def step(self) -> None:
        """Take a step."""


def _functional(torch: FakeTorch) -> SimpleNamespace:
    def linear(entered: FakeTensor, weight: FakeTensor) -> FakeTensor:
        out = torch.product(entered.reshape(-1, entered.shape[-1]), weight.t())
        return out.reshape(*entered.shape[:-1], weight.shape[0])

    def attention(query: FakeTensor, key: FakeTensor, content: FakeTensor) -> FakeTensor:
        assert query.shape == key.shape == content.shape
        batch, heads, length, width = query.shape
        torch.count(2 * (2 * batch * heads * length * length * width))
        return query

    def same(entered: FakeTensor, *_: object) -> FakeTensor:
        return entered

    def embedding(tokens: FakeTensor, table: FakeTensor) -> FakeTensor:
        return table._like((*tokens.shape, table.shape[1]))

    def cross_entropy(scores: FakeTensor, targets: FakeTensor) -> FakeTensor:
        assert scores.shape[0] == targets.shape[0]
        return scores

    return SimpleNamespace(
        linear=linear,
        scaled_dot_product_attention=attention,
        layer_norm=same,
        gelu=same,
        embedding=embedding,
        cross_entropy=cross_entropy,
    )


def _function(torch: FakeTorch) -> type:
    class Function:
        """What a function of its own backward derives from."""

        @classmethod
        def apply(cls, *inputs: FakeTensor) -> Any:
            """Forward without a tape, and a note of the way back."""
            context = SimpleNamespace()
            context.save_for_backward = lambda *kept: setattr(context, "saved_tensors", kept)
            kept = [*torch._tape]
            out = cls.forward(context, *inputs)  # type: ignore[attr-defined]
            torch._tape[:] = kept

            def backward() -> None:
                gradients = cls.backward(context, out)  # type: ignore[attr-defined]
                for gradient, tensor in zip(gradients, inputs, strict=True):
                    assert gradient.shape == tensor.shape

            torch.remember(backward)
            out.requires_grad = True
            return out

    return Function
