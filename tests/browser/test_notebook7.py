"""The view in Notebook 7, where many people meet Jupyter first."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.test_live_view import GRAPH, WAIT
from tools.lab import Lab


def test_the_view_lives_and_acts_in_notebook_7(notebook7: Lab) -> None:
    """The same view and the same buttons, also while the cell waits."""
    nb = notebook7.open([GRAPH, WAIT])
    try:
        nb.run_and_wait(0)
        view = nb.output(0).locator(".tiledag").first
        expect(view).to_contain_text("Not Started", timeout=15_000)
        nb.run(1)
        retry = view.get_by_role("button", name="Retry failed (1)")
        expect(retry).to_be_enabled(timeout=15_000)
        assert nb.is_running(1)

        retry.click()
        expect(view).to_contain_text("12/12", timeout=10_000)
        nb.wait_for_cell(1, seconds=20)

        assert "ended Completed Completed" in nb.text(1)
        nb.screenshot("notebook7", view)
    finally:
        nb.close()
