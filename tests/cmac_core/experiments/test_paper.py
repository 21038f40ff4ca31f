"""The paper's numbers are those of METHOD 8, with their caveats beside them."""

from cmac_core.experiments.paper import TABLES, PaperTable

# Written out a second time from METHOD 8, in its own notation.
ABLATIONS = {
    "table-1": {"scratch": "73.2/23.7", "single": "82.5/47.3", "no_cl": "76.4/25.1", "no_ac": "85.5/56.4",
                "full": "87.2/57.8"},
    "figure-4": {"0": "85.5/56.4", "1.5": "87.2/57.8"},
    "table-2": {"none": "85.8/57.0", "softmax": "86.6/57.4", "cos1": "87.0/57.6", "cos2": "87.2/57.9",
                "cos3": "86.9/57.8"},
    "table-3": {"00": "86.5/57.0", "10": "87.2/57.8", "01": "86.2/56.4", "11": "86.7/57.5"},
}  # fmt: skip
TABLE_4 = {
    "Multisensory": "82.1/-", "CPD": "88.7/57.7", "AVTS": "85.5/56.9", "AV Sync+RotNet": "87.0/54.6",
    "SpeedNet": "81.1/48.8", "XDC": "86.8/52.6", "AVID": "87.5/60.8", "GDT": "89.3/60.0",
}  # fmt: skip
TABLE_5 = {
    "ClipOrder": ("14.1/30.3/40.4", "7.6/22.9/34.4"), "SpeedNet": ("13.0/28.1/37.5", "-/-/-"),
    "VCP": ("18.6/33.6/42.5", "7.6/24.4/36.3"), "VSP": ("24.6/41.9/51.3", "10.3/26.6/38.8"),
    "GDT": ("57.4/73.4/80.8", "25.4/51.4/63.9"),
}  # fmt: skip
TABLE_6 = {
    "SoundNet": "74.2/-/-",
    "AVTS": "76.7/-/91.0",
    "AVID": "79.1/-/-",
    "XDC": "78.0/-/-",
    "GDT": "78.6/73.0/94.0",
}


def written(table: PaperTable, numbers: object, *columns: str) -> str:
    assert isinstance(numbers, dict)
    return "/".join(str(numbers.get(column, "-")) for column in columns or table.columns)


def test_the_ablations_are_the_papers() -> None:
    for key, rows in ABLATIONS.items():
        table = TABLES[key]
        assert {row.key: written(table, row.numbers) for row in table.rows if row.numbers} == rows
    assert [row.x for row in TABLES["figure-4"].rows] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]


def test_the_main_results_and_those_of_others_are_the_papers() -> None:
    four, five, six = TABLES["table-4"], TABLES["table-5"], TABLES["table-6"]
    assert written(four, four.rows[0].numbers) == "90.3/61.1"
    assert {one.method: written(four, one.numbers) for one in four.published} == TABLE_4
    assert written(five, five.rows[0].numbers) == "58.4/74.2/81.3/26.0/52.2/64.2"
    ranks = [tuple(f"{name}_r{k}" for k in (1, 5, 10)) for name in ("ucf101", "hmdb51")]
    found = {one.method: tuple(written(five, one.numbers, *three) for three in ranks) for one in five.published}
    assert found == TABLE_5
    assert {row.key: written(six, row.numbers) for row in six.rows} == {
        "scratch": "-/48.0/-", "single": "-/61.0/-", "baseline": "-/68.0/89.0", "full": "81.4/76.0/96.0",
    }  # fmt: skip
    assert {one.method: written(six, one.numbers) for one in six.published} == TABLE_6


def test_what_is_wrong_with_a_printed_number_stands_beside_it() -> None:
    caveats = {(table.key, one.method): one.caveat for table in TABLES.values() for one in table.published}
    assert "shifted by one column" in caveats["table-4", "SpeedNet"]
    assert "AVID+CMA" in caveats["table-4", "AVID"]
    assert "90.9/62.3" in caveats["table-4", "GDT"]
    assert "text" in caveats["table-4", "CPD"]
    assert "fine-tuned" in caveats["table-6", "XDC"]
    assert "cites AVID" in caveats["table-6", "AVTS"]
    assert "57.9" in TABLES["table-1"].caveats[0]
    assert "never a challenge" in TABLES["table-6"].caveats[0]
    assert "cannot be recovered" in TABLES["figure-4"].caveats[0]


def test_every_number_has_a_column() -> None:
    for table in TABLES.values():
        numbers = [row.numbers for row in table.rows] + [one.numbers for one in table.published]
        assert {key for one in numbers for key in one} <= set(table.columns)
