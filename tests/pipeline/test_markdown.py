from semireal.pipeline import markdown


def test_table_keeps_its_columns_whatever_is_in_a_cell() -> None:
    found = markdown.table(["key", "may be"], [["a", "x|y"], ["b", ""]])
    assert found == "| key | may be |\n| --- | --- |\n| a | x\\|y |\n| b |  |\n"
