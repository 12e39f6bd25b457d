"""Training logs: what they print comes out again, and what cannot be is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from flopmeter.lab import training_log
from flopmeter.lab.training_log import LogFigures, document, figures_of, read_logs
from flopmeter_core.data import builtin_table
from flopmeter_core.devices import parse_device_table
from flopmeter_core.errors import DataError, UsageError
from support.requirements import ROOT

DATA = ROOT / "tests/data/training-logs"
BLOOM = DATA / "bigscience/bloom-176b-iteration-lines.log"
MEGATRON_8 = DATA / "bigscience/meg_gpt2_base_n8_dp1_tp4_pp8-1809562.out"
NANO_15B = DATA / "modded-nanogpt/1.5B_2024-10-20_ScaleUp1B_ad8d7ae5.txt"
NANO_124M = DATA / "modded-nanogpt/124M_2024-10-14_ModernArch_dabaaddd.txt"
LLMC = DATA / "modded-nanogpt/llmc_2024-10-13_main.log"
TABLES = DATA / "llm-foundry/tables.md"


def _only(path: Path) -> LogFigures:
    (figures,) = read_logs(path)
    return figures


def _worst(figures: LogFigures) -> Fraction:
    errors = [each.relative_error for each in figures.reproduced]
    assert errors and None not in errors
    return max(abs(error) for error in errors if error is not None)


@pytest.mark.parametrize(
    ("name", "count", "bound"),
    [
        ("bloom-176b-iteration-lines.log", 14, "0.001"),
        ("meg_gpt2_base_n8_dp1_tp4_pp8-1809562.out", 1, "0.005"),
        ("meg_gpt2_base_n16_dp1_tp4_pp16-1809577.out", 1, "0.015"),
        ("meg_gpt2_base_n64_dp1_tp4_pp64-1809655.out", 1, "0.015"),
    ],
)
def test_bigscience_rates_are_reproduced(name: str, count: int, bound: str) -> None:
    """Each TFLOP/s that bigscience prints, by its own formula, well within 2 %."""
    figures = _only(DATA / "bigscience" / name)
    assert len(figures.reproduced) == count
    assert _worst(figures) < Fraction(bound)


def test_bigscience_model_and_executed() -> None:
    """BLOOM prints executed FLOP; a quarter off would be 0.5 % below the square's model FLOP."""
    figures = _only(BLOOM)
    flop = figures.flop
    assert flop.executed.lower == flop.executed.upper
    three_quarters = Fraction(3, 4) * flop.executed.best
    assert Fraction(1004, 1000) < Fraction(flop.model_square) / three_quarters < Fraction(101, 100)
    assert Fraction(flop.model) / three_quarters < 1
    said = document(figures)
    assert said["differences"][0]["printed_over_counted"] == 1.0  # type: ignore[index]
    assert "6 of 20 iteration lines are cut off at their end" in figures.log.remarks
    assert any("not of a run" in remark for remark in figures.log.remarks)


def test_megatron_without_a_file_beside(tmp_path: Path) -> None:
    """The argument dump alone gives the same architecture; only the accelerator is missing."""
    alone = tmp_path / "log.out"
    shutil.copyfile(MEGATRON_8, alone)
    figures, whole = _only(alone), _only(MEGATRON_8)
    assert figures.flop == whole.flop and figures.sequences == whole.sequences == 800
    assert figures.part is None and figures.share_of_peak(figures.flop.model) is None
    assert figures.per_device(figures.flop.model) == whole.per_device(whole.flop.model)
    assert figures.annex() is None


@pytest.mark.parametrize(
    ("path", "printed_ms", "parameters", "square_tflop_per_s"),
    [
        (NANO_15B, "1719.17", 1_549e6, "367"),
        (DATA / "modded-nanogpt/1.5B_2024-10-20_ScaleUp1B_c0078066.txt", "1719.66", 1_549e6, "367"),
        (NANO_124M, "178.89", 123.6e6, "313"),
    ],
)
def test_nanogpt(path: Path, printed_ms: str, parameters: float, square_tflop_per_s: str) -> None:
    """step_avg is met but for its last digit; parameters and rate (6ND and the square) too."""
    figures = _only(path)
    assert figures.mean_step_ms is not None
    assert abs(figures.mean_step_ms - Fraction(printed_ms)) < Fraction(1, 100)
    assert figures.log.setup.shape.parameters() == pytest.approx(parameters, rel=1e-3)
    rate = figures.per_device(figures.flop.model_square)
    assert rate is not None
    assert float(rate) == pytest.approx(float(square_tflop_per_s) * 1e12, rel=0.005)
    assert sum(step.steps for step in figures.log.steps if step.elapsed_s is None) == 10
    assert figures.flop.model < figures.executed.lower // figures.sequences


def test_llmc_has_tokens_and_no_times() -> None:
    """A log without times gives FLOP and no rate, and says so."""
    figures = _only(LLMC)
    assert sum(step.tokens for step in figures.log.steps) == 19_560 * 512 * 1024
    assert figures.per_device(figures.flop.model) is None
    rates = document(figures)["rates_per_device"]
    assert isinstance(rates, dict) and set(rates.values()) == {None}
    assert figures.log.setup.shape.parameters() == 124_439_808 + (50_304 - 50_257) * 768
    assert any("no times" in remark for remark in figures.log.remarks)


def test_llm_foundry_rates_are_reproduced() -> None:
    """All 148 rows: TFLOP/s (printed cut), MFU and HFU within 2 %, the shares within 0.1 %."""
    every = read_logs(TABLES)
    assert len(every) == 148
    assert max(_worst(figures) for figures in every) < Fraction(1, 100)
    shares = [
        abs(each.relative_error)
        for figures in every
        for each in figures.reproduced
        if each.printed.quantity != "tflop_per_s" and each.relative_error is not None
    ]
    assert len(shares) == 2 * 148 and max(shares) < Fraction(1, 1000)


def test_llm_foundry_counts_more_than_is_needed() -> None:
    """What is printed exceeds causal model FLOP on every row: 0.6 to 90 %, most at 65536 tokens."""
    ratios = {
        figures.log.name: document(figures)["differences"][0]["printed_over_counted"]  # type: ignore[index]
        for figures in read_logs(TABLES)
    }
    assert min(ratios.values()) > 1.005
    assert 1.89 < max(ratios.values()) < 1.91
    assert max(ratios, key=lambda name: ratios[name]).startswith("125m-65536")


def test_document_adds_up() -> None:
    """Whole FLOP have their decimal twins, model lies below executed, and N L H U multiply."""
    for path in (BLOOM, NANO_15B, MEGATRON_8):
        figures = _only(path)
        said = document(figures)
        assert said["model_flop_str"] == str(said["model_flop"])
        executed = said["executed_flop"]
        assert isinstance(executed, dict)
        assert said["executed_flop_str"] == {name: str(flop) for name, flop in executed.items()}
        model = said["model_flop"]
        assert isinstance(model, int) and model == figures.flop.model * figures.sequences
        assert model < executed["lower"] <= executed["best"] <= executed["upper"]
        annex = figures.annex()
        assert annex is not None
        assert annex.flop == figures.flop.model * figures.timed_sequences


def _newer(text: str, **arguments: str) -> str:
    """The log as a newer Megatron would print it."""
    dump = "".join(f"{_dots(key, figure)}\n" for key, figure in arguments.items())
    without = text.replace(_dots("checkpoint_activations", "True") + "\n", "")
    return without.replace("  data_parallel_size", f"{dump}  data_parallel_size", 1)


def test_newer_arguments(tmp_path: Path) -> None:
    """Grouped heads, a gate, experts, recomputation and kernel are read off the dump."""
    log = tmp_path / "log.out"
    log.write_text(
        _newer(
            MEGATRON_8.read_text(),
            group_query_attention="True", num_query_groups="8", swiglu="True",
            untie_embeddings_and_output_weights="True", add_bias_linear="False",
            position_embedding_type="rope", recompute_granularity="selective",
            transformer_impl="transformer_engine", num_experts="4", moe_router_topk="2",
        ).replace("| learning rate", "| throughput per GPU (TFLOP/s/GPU): 9.9 | learning rate")
    )  # fmt: skip
    figures = _only(log)
    shape, training = figures.log.setup.shape, figures.log.setup.training
    assert (shape.heads, shape.kv_heads, shape.gated_mlp) == (32, 8, True)
    assert not shape.tied_embedding and not shape.biases and not shape.learned_positions
    assert shape.experts is not None and shape.experts.active == 2
    assert shape.experts.width == shape.mlp_width
    assert (training.recompute, training.kernel) == ("selective", "unknown")
    assert any("not reproduced" in remark for remark in figures.log.remarks)
    mixed = {"num_experts": "4", "moe_router_topk": "2", "moe_ffn_hidden_size": "64"}
    log.write_text(_newer(MEGATRON_8.read_text(), fp8="hybrid", **mixed))
    setup = _only(log).log.setup
    assert setup.number_format == "fp8"
    assert setup.shape.experts is not None and setup.shape.experts.width == 64
    log.write_text(_newer(MEGATRON_8.read_text(), use_flash_attn="True", num_experts="[1]"))
    dense = _only(log).log.setup
    assert (dense.training.recompute, dense.training.kernel) == ("none", "fused")
    assert dense.shape.experts is None and dense.shape.learned_positions == 1024


@pytest.mark.parametrize(
    ("key", "figure"),
    [
        ("multi_latent_attention", "True"),
        ("hybrid_override_pattern", "M-M-M*-"),
        ("mtp_num_layers", "1"),
        ("window_size", "(128, 0)"),
        ("moe_shared_expert_intermediate_size", "1024"),
        ("recompute_method", "block"),
        ("recompute_granularity", "sometimes"),
    ],
)
def test_layers_without_a_formula(tmp_path: Path, key: str, figure: str) -> None:
    """What the formulas do not cover is refused by the argument's name, never counted wrongly."""
    log = tmp_path / "log.out"
    log.write_text(_newer(MEGATRON_8.read_text(), **{key: figure}))
    with pytest.raises(DataError, match=key):
        read_logs(log)


# --- bad input -----------------------------------------------------------------------------------


def _changed(tmp_path: Path, source: Path, change: Callable[[str], str]) -> Path:
    """A copy of a log with its architecture file, changed."""
    copy = tmp_path / source.name
    copy.write_text(change(source.read_text()))
    beside = source.with_name(source.name + ".toml")
    if beside.exists():
        shutil.copyfile(beside, tmp_path / beside.name)
    return copy


def _dots(key: str, figure: str) -> str:
    """A line of an argument dump, as Megatron pads it."""
    return f"  {key} {'.' * (48 - len(key))} {figure}"


def _replaced(old: str, new: str) -> Callable[[str], str]:
    def change(text: str) -> str:
        assert old in text
        return text.replace(old, new, 1)

    return change


@pytest.mark.parametrize(
    ("source", "old", "new", "sentence"),
    [
        (MEGATRON_8, "consumed samples:           80", "consumed samples: 99", "59 samples since"),
        (MEGATRON_8, "(ms): 1572.7", "(ms): 0.0", "took no time"),
        (MEGATRON_8, "(ms): 1572.7", "(ms): x", "no time or batch size"),
        (MEGATRON_8, "iteration       20/", "iteration 2000/", "iteration 2000 of 1000"),
        (MEGATRON_8, "global batch size:     4 |", "global batch size: 0 |", "size of 0"),
        (MEGATRON_8, "  num_layers ", "  hidden_size ....... 9\n  num_layers ", "one run"),
        (MEGATRON_8, _dots("num_layers", "48"), "  num_layers ... -3", "num_layers = '-3'"),
        (MEGATRON_8, _dots("seq_length", "1024"), "  seq_length ... 9", "not that of its"),
        (MEGATRON_8, "(new size: 50688)", "", "padded vocabulary"),
        (MEGATRON_8, _dots("kv_channels", "224"), "  kv_channels ... 7", "not that of its"),
        (
            BLOOM,
            "consumed tokens:    121470976",
            "consumed tokens: 7",
            "7 tokens are not 59312 samples",
        ),
        (BLOOM, "samples per second: 1.051", "samples per second: 9.9", "not the global batch"),
        (BLOOM, "| lm loss", "| global batch size: 3 | lm loss", "global batch size twice"),
        (NANO_15B, "step_avg:1710.80ms", "step_avg:1010.80ms", "step_avg 1010.80 ms is not"),
        (
            NANO_15B,
            "train_time:6852ms step_avg:1713.07ms",
            "train_time:12ms step_avg:nanms",
            "time goes back",
        ),
        (NANO_15B, "step:14/20344", "step:4/20344", "goes back from step 13 to 4"),
        (NANO_15B, "step:14/20344", "step:14/9", "step 14 of 9"),
        (NANO_15B, "step:14/20344", "step:14/20345", "20344 were said before"),
        (NANO_15B, "step:14/20344 train_loss", "step:14/20344 tra", "cut off or garbled"),
        (LLMC, "s:250 trl", "s:1 trl", "goes back to step 1"),
        (LLMC, "s:250 trl", "s:250 what", "cut off or garbled"),
        (TABLES, "| 64862437376 |", "| 64862437377 |", "its architecture is another"),
        (TABLES, "| 64862437376 |", "| 648624", "20 cells|cut off"),
        (TABLES, "|  70b | 2048 | 512", "|  71b | 2048 | 512", "names the model '71b'"),
        (TABLES, "| 41.25 | 55.0 |", "| NaN | 55.0 |", "'NaN' is no number"),
        (TABLES, "| 41.25 | 55.0 |", "| -1 | 55.0 |", "'-1' is no number"),
        (TABLES, "| 41.25 | 55.0 |", "| 61.25 | 55.0 |", "MFU is at most HFU"),
        (TABLES, "| 515636 | 1007 |", "| 515636 | 2007 |", r"over # GPUs"),
        (TABLES, "| 515636 | 1007 |", "| 0 | 1007 |", "0 cannot be"),
        (TABLES, "| 4096 | 251 |", "| 4095 | 251 |", "GlobalBatchSize is not"),
        (TABLES, "| 4096 | 251 |", "| 4096 | 999 |", "over SeqLen"),
        (TABLES, "| 8388608 | amp_bf16", "| 8388609 | amp_bf16", "x SeqLen"),
        (TABLES, "| 8388608 | amp_bf16", "| 8388608 | int3", "'int3' is none of"),
    ],
)
def test_contradictions(tmp_path: Path, source: Path, old: str, new: str, sentence: str) -> None:
    """A line that contradicts itself or the line before is refused, with its file."""
    with pytest.raises(DataError, match=sentence):
        read_logs(_changed(tmp_path, source, _replaced(old, new)))


@pytest.mark.parametrize("source", [MEGATRON_8, NANO_124M, LLMC])
def test_a_log_cut_off_in_its_last_line_is_read_up_to_there(tmp_path: Path, source: Path) -> None:
    """A killed job leaves half a line: it adds nothing, and what is before it still counts."""
    whole = _only(source)
    lines = source.read_text().rstrip().splitlines()
    if source is NANO_124M:
        lines = lines[:-1]
    cut = _only(_changed(tmp_path, source, lambda _: "\n".join([*lines[:-1], lines[-1][:20]])))
    assert 0 < cut.sequences <= whole.sequences
    if source is not LLMC:
        assert cut.sequences < whole.sequences


@pytest.mark.parametrize(
    ("source", "keep", "sentence"),
    [
        (MEGATRON_8, "  seq_length", "no training log"),
        (NANO_15B, "step:0/", "no whole training step"),
        (LLMC, "s:0 tel", "no training step"),
        (TABLES, "|  Model |", "without a row"),
    ],
)
def test_nothing_but_a_head(tmp_path: Path, source: Path, keep: str, sentence: str) -> None:
    """A log that ends before its first figure is refused, not read as zero."""

    def head(text: str) -> str:
        return "\n".join(line for line in text.splitlines() if line.startswith(keep))

    with pytest.raises(DataError, match=sentence):
        read_logs(_changed(tmp_path, source, head))


def test_half_a_number_is_no_number(tmp_path: Path) -> None:
    """A line cut off inside its rate keeps its time; the piece of the rate is not read."""
    text = BLOOM.read_text().splitlines()[1]
    assert text.rstrip().endswith("TFLOPs: 149.02 |")
    figures = _only(_changed(tmp_path, BLOOM, lambda _: text[: text.index("149.02") + 2]))
    assert figures.sequences == 2048 and figures.timed_s == Fraction("105.22")
    assert figures.reproduced == ()


def test_a_rate_that_is_not_so_is_shown(tmp_path: Path) -> None:
    """A printed rate that its own formula does not give is no error, and counts for nothing."""
    lie = _only(_changed(tmp_path, BLOOM, _replaced("TFLOPs: 149.02", "TFLOPs: 14902.0")))
    said = document(lie)["stated"]
    assert isinstance(said, list)
    assert [each["reproduced"] for each in said].count(False) == 1
    wrong = next(each for each in said if not each["reproduced"])
    assert wrong["relative_error"] == pytest.approx(-0.99, abs=1e-4)
    assert lie.flop == _only(BLOOM).flop


def test_iterations_done_twice_are_executed_twice(tmp_path: Path) -> None:
    """A log that goes on after a restart from a checkpoint counts the repeated steps again."""
    last = MEGATRON_8.read_text().rstrip().splitlines()[-1]
    figures = _only(_changed(tmp_path, MEGATRON_8, lambda text: text.rstrip() + "\n" + last))
    assert figures.sequences == _only(MEGATRON_8).sequences + 40
    assert "1 lines go back: those iterations were executed more than once" in figures.log.remarks


def test_no_architecture(tmp_path: Path) -> None:
    """A log that does not hold its architecture asks for a file, by name."""
    for source in (BLOOM, NANO_15B):
        alone = tmp_path / source.name
        shutil.copyfile(source, alone)
        with pytest.raises(DataError, match=rf"{source.name}\.toml beside it"):
            read_logs(alone)
    toml = tmp_path / "a.toml"
    toml.write_text(
        NANO_15B.with_name(NANO_15B.name + ".toml")
        .read_text()
        .replace("sequences_per_step = 480\n", "")
    )
    with pytest.raises(DataError, match=r"lacks run\.sequences_per_step"):
        read_logs(tmp_path / NANO_15B.name, toml)
    with pytest.raises(DataError, match="would not fit"):
        read_logs(TABLES, toml)


@pytest.mark.parametrize(
    ("old", "new", "times"),
    [("devices = 8", "devices = 2", "1.41"), ("layers = 52", "layers = 520", "3.38")],
)
def test_more_than_the_peak(tmp_path: Path, old: str, new: str, times: str) -> None:
    """Model FLOP above what the devices can do mean a wrong input, not a good run."""
    copy = _changed(tmp_path, NANO_15B, lambda text: text)
    beside = tmp_path / (NANO_15B.name + ".toml")
    beside.write_text(_replaced(old, new)(beside.read_text()))
    with pytest.raises(DataError, match=rf"comes to {times} times the dense bf16 peak of "):
        read_logs(copy)


def test_not_a_log(tmp_path: Path) -> None:
    """Another file, an unknown accelerator and a missing path are told apart."""
    other = tmp_path / "other.log"
    other.write_text("nothing here\n")
    with pytest.raises(DataError, match="known formats: megatron, step-log, llm-foundry-table"):
        read_logs(other)
    with pytest.raises(UsageError, match="cannot be read"):
        read_logs(tmp_path / "missing.log")
    copy = _changed(tmp_path, NANO_15B, lambda text: text)
    beside = tmp_path / (NANO_15B.name + ".toml")
    beside.write_text(beside.read_text().replace("H100-80GB", "H1000"))
    with pytest.raises(DataError, match="'H1000', which the device table does not know"):
        read_logs(copy)


def test_a_log_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused by its size before it fills the memory."""
    monkeypatch.setattr(training_log, "FILE_BYTES_MAX", 1 << 20)
    log = tmp_path / "log.out"
    log.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(DataError, match="larger than 1 MiB; split it"):
        read_logs(log)


def test_no_whole_number_of_sequences() -> None:
    """Tokens that are no sequences of the stated length contradict it."""
    log = _only(BLOOM).log
    step = replace(log.steps[0], tokens=log.steps[0].tokens + 1)
    table = parse_device_table(builtin_table("devices.toml"))
    with pytest.raises(DataError, match="no whole number of sequences of 2048 tokens"):
        figures_of(replace(log, steps=(step, *log.steps[1:])), table)


def test_a_rate_without_time_is_not_reproduced() -> None:
    """Where a log does not say how long its steps took, its rates stand unchecked, not wrong."""
    log = _only(BLOOM).log
    table = parse_device_table(builtin_table("devices.toml"))
    timeless = replace(log, setup=replace(log.setup, devices=0))
    figures = figures_of(timeless, table)
    assert figures.reproduced
    assert {each.relative_error for each in figures.reproduced} == {None}
