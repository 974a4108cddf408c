"""The command ``report``: pictures and the README's table, made from raw figures that were measured before."""

import math
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from benchmarks.contenders import CONTENDERS
from benchmarks.picture import phases_picture
from benchmarks.results import RESULTS, read_records
from benchmarks.scale_tables import scale_picture, scale_table
from benchmarks.spread import DRAWN
from benchmarks.story import median_crash, story_picture
from benchmarks.summary import crashes_of, in_ms, of_contender, takeover_table
from netns.cluster import REPOSITORY

PICTURES: Final = Path(__file__).parent / "pictures"
BEGIN: Final = "<!-- benchmarks -->"
END: Final = "<!-- /benchmarks -->"


def report(
    readme: Annotated[bool, typer.Option("--readme", help="Put the table into the README's marked block.")] = False,
    raw: Annotated[Path, typer.Option(help="Raw figures of `takeover`.")] = RESULTS / "takeover-1c1cs.jsonl",
    scale_raw: Annotated[Path, typer.Option(help="Raw figures of `scale`, if there are any.")] = RESULTS
    / "scale.jsonl",
    directory: Annotated[
        Path, typer.Option(help="Where the raw figures of the others are, as far as any are.")
    ] = RESULTS,
) -> None:
    """Draw the pictures of all that was measured, show the table, and put it into the README if asked."""
    PICTURES.mkdir(exist_ok=True)
    sizes = read_records(scale_raw)
    if sizes:
        (PICTURES / "scale.svg").write_text(scale_picture(sizes), encoding="utf-8")
        Console(width=160).print(scale_table(sizes))
    for name, draw in DRAWN.items():
        measured = read_records(directory / f"{name}.jsonl")
        if measured:
            (PICTURES / f"{name}.svg").write_text(draw(measured), encoding="utf-8")
    records = read_records(raw)
    if not any(r["kind"] == "crash" and r["written_ms"] is not None for r in records):
        Console(stderr=True).print(f"{raw} has no figures; run `./benchmarks/run takeover` first", markup=False)
        raise typer.Exit(1)
    (PICTURES / "contenders.svg").write_text(phases_picture(records), encoding="utf-8")
    crash = median_crash(records, "pycarpd")
    if crash is not None:
        (PICTURES / "takeover.svg").write_text(story_picture(crash), encoding="utf-8")
    Console(width=160).print(takeover_table(records))
    if readme:
        path = REPOSITORY / "README.md"
        path.write_text(with_block(path.read_text(encoding="utf-8"), markdown(records)), encoding="utf-8")


def with_block(text: str, block: str) -> str:
    """Return the text with what stands between the marks replaced; raises ValueError where there are none."""
    head, _, rest = text.partition(BEGIN)
    old, mark, tail = rest.partition(END)
    if not mark or BEGIN in old:
        raise ValueError(f"the README has no block between {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{block}{END}{tail}"


def markdown(records: list[dict[str, Any]]) -> str:
    """Return the table for the README, with what it was measured on."""
    conditions = records[0]
    lines = [
        "| | crashes | first gratuitous ARP | next completed write: median | worst |",
        "|---|---:|---:|---:|---:|",
    ]
    for entry in CONTENDERS:
        mine = crashes_of(records, entry.name)
        garp, _ = of_contender(records, entry.name, "garp_ms")
        written, missing = of_contender(records, entry.name, "written_ms")
        if garp is not None and written is not None:
            worst = max((float(r["written_ms"]) for r in mine if r["written_ms"] is not None), default=math.inf)
            late = f", {missing} never" if missing else ""
            cells = (in_ms(garp.median), f"**{in_ms(written.median)}**", in_ms(worst) + late)
            lines.append(f"| {entry.title} | {len(mine)} | {' | '.join(cells)} |")
    where = f"{conditions['processor']}, {conditions['cores']} cores, Linux {conditions['kernel']}"
    where += ", huge pages for all" * (conditions.get("huge pages") == "always")
    what = (
        f"MooseFS {conditions['moosefs']}, {conditions['clients']} client and {conditions['chunkservers']} chunkserver"
    )
    lines.append("")
    lines.append(f"Measured by `./benchmarks/run takeover` on {where}; {what}, three metadata hosts,")
    lines.append("of which ucarp's recipe can use two.")
    return "\n".join(lines) + "\n"
