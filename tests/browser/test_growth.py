"""A graph that grows while somebody looks at it: an edge against the flow is a loop, and Tidy makes all anew."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import OpenNotebook

BUILD = """
from tiledag_widget import DAG

def build(is_whole):
    global late, second
    dag = DAG(name="grown")
    first = dag.submit_local(str, 1, name="first")
    second = dag.submit_local(str, first, name="second")
    late = dag.submit_local(str, 2, name="late")
    dag.submit_local(str, late, name="last")
    if is_whole:
        late.depends_on(second)
    return dag

dag = build(False)
"""
PICTURE = """canvases => canvases.map(canvas => canvas.toDataURL())"""


def test_an_edge_against_the_flow_is_a_loop_until_tidy_gives_the_picture_of_a_fresh_display(
    open_notebook: OpenNotebook,
) -> None:
    """What jumps while one looks at it is lost, and what is never put in order cannot be read."""
    nb = open_notebook([BUILD, "dag.visualize()", "late.depends_on(second)", "build(True).visualize()"])
    nb.run_and_wait(0)
    nb.run_and_wait(1)
    view = nb.output(1).locator(".tiledag").first
    layers = view.locator("canvas.td-layer")
    tidy = view.locator(".td-chip .td-link", has_text="Tidy")
    expect(view.locator(".td-graph[data-drawn='4']")).to_be_visible()
    expect(tidy).to_have_count(0)

    nb.run_and_wait(2)

    expect(tidy).to_be_visible()
    expect(view.locator(".td-graph[data-drawn='4']")).to_be_visible()
    nb.screenshot("loop-back")

    tidy.click()

    expect(tidy).to_have_count(0)
    nb.screenshot("tidied")
    nb.run_and_wait(3)
    fresh = nb.output(3).locator(".tiledag").first
    expect(fresh.locator(".td-graph[data-drawn='4']")).to_be_visible()
    nb.page.mouse.move(0, 0)
    nb.page.wait_for_timeout(500)  # a fade of 120 ms may still be on its way
    view.locator(".td-viewport").evaluate("viewport => viewport.blur()")
    assert layers.evaluate_all(PICTURE) == fresh.locator("canvas.td-layer").evaluate_all(PICTURE)
    nb.assert_no_errors()
