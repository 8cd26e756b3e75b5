"""What stands where a graph would be: while it is arranged, where it could not be, and where it can never run."""

from __future__ import annotations

from playwright.sync_api import Page as BrowserPage
from playwright.sync_api import expect

from tests.browser.conftest import OpenPage

SECONDS_10 = 10_000


def told(page: BrowserPage, about: str) -> None:
    """A new picture that says this besides."""
    page.evaluate(f"() => {{ kernel.about = {about}; kernel.epoch += 1; return kernel.sendPicture() }}")


def test_a_page_that_waits_for_the_arrangement_says_so_and_need_not_wait(show: OpenPage) -> None:
    """A hundred thousand nodes on a slow machine: nothing to see, and no way to tell that from a view that hangs."""
    page = show("n=12&state=failed")
    told(page, "{ is_interim: true }")
    note = page.locator(".td-empty")
    expect(note.get_by_role("status")).to_have_text("Arranging 12 nodes…", timeout=SECONDS_10)

    note.get_by_role("button", name="Stop").press("Enter")

    page.wait_for_function("kernel.requests.some(each => each.kind === 'plain')")
    told(page, "{ folded: 'Not arranged: it was stopped.' }")
    expect(note).to_be_hidden(timeout=SECONDS_10)


def test_before_there_is_a_picture_nothing_pretends_to_be_known(show: OpenPage) -> None:
    """An empty red mark beside an empty bar looks like a failure."""
    page = show("n=12&state=failed")
    page.evaluate("() => void another(document.body.appendChild(document.createElement('div')), false)")
    view = page.locator(".tiledag").nth(1)
    expect(view.locator(".td-empty")).to_have_text("Waiting for the graph…")
    expect(view.locator(".td-summary")).to_contain_text("Waiting for the kernel…")
    expect(view.locator(".td-failed")).to_be_hidden()


def test_why_a_graph_was_not_arranged_is_said_and_the_traceback_is_there_to_be_copied(show: OpenPage) -> None:
    """A bug of ours: what happened has to reach us, and another reason later on has to be seen."""
    page = show("n=12&state=failed")
    told(page, "{ folded: 'The graph could not be arranged: too wide.', trouble: 'Traceback: layout.py' }")
    note = page.locator(".td-empty")
    expect(note.get_by_role("alert")).to_have_text("The graph could not be arranged: too wide.", timeout=SECONDS_10)
    expect(note.locator("pre")).to_be_hidden()
    note.locator("summary").press("Enter")
    expect(note.locator("pre")).to_have_text("Traceback: layout.py")

    told(page, "{ folded: 'The graph could not be arranged: too deep.', trouble: 'Traceback: ranks.py' }")
    expect(note.get_by_role("alert")).to_have_text("The graph could not be arranged: too deep.", timeout=SECONDS_10)
    told(page, "{ cycle: 'a → b → a is a cycle. These 2 edges cannot run.', cyclic: [0] }")
    expect(note.get_by_role("status")).to_have_text("a → b → a is a cycle. These 2 edges cannot run.")
    told(page, "{}")
    expect(note).to_be_hidden(timeout=SECONDS_10)
