"""The architecture that Megatron's argument dump describes.

Owns: which arguments say what of shape and training, and which describe what is not counted.
May touch: nothing; arguments in, a setup out.
Called by importers.megatron_log.

Keys of Megatron-LM 2021 to 2025 and of Megatron-DeepSpeed. A key that is absent has the meaning of
the versions before it existed. Attention of those before use_flash_attn computes the whole square;
with Transformer Engine the dump does not say which kernel ran.
"""

from __future__ import annotations

from collections.abc import Mapping

from flopmeter_core.architecture.parse import Setup
from flopmeter_core.architecture.shape import Experts, ModelShape
from flopmeter_core.architecture.training import Kernel, Recompute, Training
from flopmeter_core.errors import DataError

UNCOUNTED: Mapping[str, tuple[str, ...]] = {
    "multi_latent_attention": ("False",),
    "is_hybrid_model": ("False",),
    "hybrid_attention_ratio": ("None", "0.0"),
    "hybrid_override_pattern": ("None",),
    "mtp_num_layers": ("None", "0"),
    "window_size": ("None",),
    "decoder_num_layers": ("None",),
    "retro_add_retriever": ("False",),
    "vision_pretraining": ("False",),
    "moe_layer_freq": ("1",),
    "moe_shared_expert_intermediate_size": ("None", "0"),
    "moe_latent_size": ("None",),
    "heterogeneous_layers_config_path": ("None",),
    "experimental_attention_variant": ("None",),
    "recompute_method": ("None", "uniform"),
    "recompute_modules": ("None", "['core_attn']"),
}
"""Argument -> the values under which the formulas hold; another value is refused."""


def natural(arguments: Mapping[str, str], key: str, name: str) -> int:
    """A whole number of the dump.

    Raises:
        DataError: absent, or something else.
    """
    text = arguments.get(key, "")
    if not (text.isascii() and text.isdigit() and 0 < len(text) <= 12):
        raise DataError(f"the argument dump of {name} gives {key} = {text!r}, no whole number")
    return int(text)


def setup_of(arguments: Mapping[str, str], vocabulary: int, name: str) -> Setup:
    """The architecture of a dump.

    Args:
        arguments: key -> text.
        vocabulary: padded, as the log says beside the dump.
        name: of the file, for errors.

    Raises:
        DataError: an argument is missing, impossible, or describes what is not counted.
    """
    for key, held in UNCOUNTED.items():
        if arguments.get(key, held[0]) not in held:
            raise DataError(
                f"{name} was trained with {key} = {arguments[key]}, which is not counted by "
                "formula here; use measured figures"
            )
    try:
        shape = _shape(arguments, vocabulary, name)
        training = Training(
            sequence=natural(arguments, "seq_length", name),
            recompute=_recompute(arguments, name),
            kernel=_kernel(arguments),
        )
    except DataError as error:
        sentence = str(error)
        raise DataError(sentence if name in sentence else f"{name}: {sentence}") from error
    formats = [key for key in ("fp16", "bf16") if arguments.get(key) == "True"]
    if arguments.get("fp8", "None") not in ("None", "False"):
        formats = ["fp8"]
    return Setup(
        shape=shape,
        training=training,
        sequences_per_step=natural(arguments, "global_batch_size", name),
        devices=natural(arguments, "world_size", name),
        accelerator="",
        number_format=formats[0] if len(formats) == 1 else "",
        source="the log's argument dump",
    )


def _shape(arguments: Mapping[str, str], vocabulary: int, name: str) -> ModelShape:
    heads = natural(arguments, "num_attention_heads", name)
    grouped = arguments.get("group_query_attention") == "True"
    rotary = arguments.get("use_rotary_position_embeddings") == "True"
    learned = not rotary and (
        arguments.get("position_embedding_type", "learned_absolute")
        in ("learned_absolute", "PositionEmbeddingType.absolute")
    )
    return ModelShape(
        layers=natural(arguments, "num_layers", name),
        width=natural(arguments, "hidden_size", name),
        heads=heads,
        kv_heads=natural(arguments, "num_query_groups", name) if grouped else heads,
        head_width=natural(arguments, "kv_channels", name),
        mlp_width=natural(arguments, "ffn_hidden_size", name),
        gated_mlp=arguments.get("swiglu") == "True",
        vocabulary=vocabulary,
        tied_embedding=arguments.get("untie_embeddings_and_output_weights") != "True",
        learned_positions=natural(arguments, "max_position_embeddings", name) if learned else 0,
        biases=arguments.get("add_bias_linear", "True") == "True",
        experts=_experts(arguments, name),
    )


def _experts(arguments: Mapping[str, str], name: str) -> Experts | None:
    # Megatron-DeepSpeed writes a list, [1] for a dense model.
    if arguments.get("num_experts", "None") in ("None", "[1]"):
        return None
    width = "moe_ffn_hidden_size"
    if arguments.get(width, "None") == "None":
        width = "ffn_hidden_size"
    return Experts(
        count=natural(arguments, "num_experts", name),
        active=natural(arguments, "moe_router_topk", name),
        width=natural(arguments, width, name),
    )


def _recompute(arguments: Mapping[str, str], name: str) -> Recompute:
    granularity = arguments.get("recompute_granularity", "None")
    if granularity not in ("None", "full", "selective"):
        raise DataError(f"{name} gives recompute_granularity = {granularity}, which nobody knows")
    if arguments.get("checkpoint_activations") == "True" or granularity == "full":
        return Recompute.FULL
    return Recompute.SELECTIVE if granularity == "selective" else Recompute.NONE


def _kernel(arguments: Mapping[str, str]) -> Kernel:
    if "True" in (arguments.get("use_flash_attn"), arguments.get("use_flash_attn_v2")):
        return Kernel.FUSED
    local = arguments.get("transformer_impl", "local") == "local"
    return Kernel.SQUARE if local else Kernel.UNKNOWN
