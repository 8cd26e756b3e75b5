"""The log browser in a real JupyterLab: list, search, open, back."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenNotebook

SECONDS_10 = 10_000
SECONDS_30 = 30_000

RUN = """
import os, tempfile
os.environ["TILEDAG_DATA_DIR"] = tempfile.mkdtemp()
os.environ["TILEDAG_SERVER"] = "embedded"
import tiledag_widget
from tiledag_widget import DAG

def work(number):
    print("working on", number)
    if number == 3:
        raise ValueError("no row 3")
    return number

for name in ("orders", "flights", "weather"):
    dag = DAG(name=name)
    parts = [dag.submit(work, n, name=f"work-{n}") for n in range(4 if name == "flights" else 2)]
    dag.compute()
    try:
        dag.wait(60)
    except Exception:
        if name != "flights":
            raise
    del dag, parts
browser = tiledag_widget.browse_logs()
browser
"""


@pytest.mark.slow
def test_a_run_on_record_is_found_opened_and_left_again(open_notebook: OpenNotebook) -> None:
    """A run of yesterday could be read by its id only."""
    nb = open_notebook([RUN, "browser.close(); tiledag_widget.shutdown()"])
    nb.run_and_wait(0)
    runs = nb.output(0).locator(".td-runs")
    runs.scroll_into_view_if_needed()
    expect(runs.locator("tbody tr")).to_have_count(3, timeout=SECONDS_30)
    nb.screenshot("runs-list", runs)
    nb.set_theme(dark=True)
    nb.screenshot("runs-list-dark", runs)

    runs.locator(".td-search").fill("fligh")
    expect(runs.locator("tbody tr")).to_have_count(1, timeout=SECONDS_10)
    expect(runs.locator("tbody tr")).to_contain_text("Failed")
    runs.get_by_role("button", name="flights").click()
    view = nb.output(0).locator(".tiledag[data-graph]")
    expect(view.locator(".td-status")).to_contain_text("Failed", timeout=SECONDS_30)
    expect(view.locator(".td-done")).to_contain_text("3/4")
    view.locator("[data-pane=logs]").click()
    expect(view.locator(".td-logline").first).to_contain_text("working on", timeout=SECONDS_10)
    nb.screenshot("runs-opened-dark", view)

    nb.output(0).get_by_role("button", name="All runs").click()
    expect(runs.locator("tbody tr")).to_have_count(1, timeout=SECONDS_10)
    nb.assert_no_errors()
    nb.run_and_wait(1)
