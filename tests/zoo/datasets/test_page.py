from pathlib import Path

import pytest

from zoo import datasets

PAGE = (Path(__file__).parents[3] / "docs" / "datasets.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", datasets.names())
def test_every_dataset_has_a_row_with_its_number_of_training_items(name):
    (row,) = [
        line for line in PAGE.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]
    ][:1]
    expected = "`windows`" if name == "text" else f"{datasets.sizes(name).train:,}"
    assert row.split("|")[2].strip().startswith(expected)


def test_the_example_runs(capsys):
    code = PAGE.split("```python\n")[1].split("```")[0]
    exec(compile(code, "docs/datasets.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == [
        "138 138",
        "DataShape(inputs=(1, 8, 8), classes=3, tokens=None)",
        "torch.Size([500, 1, 8, 8])",
    ]
