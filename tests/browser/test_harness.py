"""The harness itself, with a widget of three lines: were it to lie, every other browser test would."""

from __future__ import annotations

import os
import signal

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import OpenNotebook
from tools.lab import KERNEL, KernelDeafError, LabError

WIDGET = '''
import anywidget, threading, time, traitlets

class Counter(anywidget.AnyWidget):
    _esm = """
    function render({ model, el }) {
        const button = document.createElement("button");
        const label = () => { button.textContent = `count is ${model.get("count")}`; };
        button.onclick = () => model.send({ kind: "click" });
        model.on("change:count", label);
        label();
        el.append(button);
    }
    export default { render };
    """
    count = traitlets.Int(0).tag(sync=True)

counter = Counter()
counter.on_msg(lambda widget, content, buffers: setattr(widget, "count", widget.count + 1))
counter
'''


@pytest.mark.slow  # the live view's own tests go the same way
def test_a_widget_shows_and_answers_a_click(open_notebook: OpenNotebook, kernel: str) -> None:
    """The whole way: page, kernel, page, on each ipykernel that is promised."""
    nb = open_notebook([WIDGET, "import ipykernel; print(ipykernel.__version__)"], kernel=kernel)

    nb.run_and_wait(0)
    nb.output(0).get_by_role("button").click()
    nb.run_and_wait(1)

    expect(nb.output(0).get_by_role("button", name="count is 1")).to_be_visible()
    if kernel.startswith("ipykernel-"):
        assert nb.text(1).strip() == kernel.removeprefix("ipykernel-")
    nb.screenshot(f"harness-{kernel}")
    nb.assert_no_errors()


@pytest.mark.slow  # waits until a kernel counts as deaf
def test_a_kernel_that_answers_nothing_is_named_and_can_be_restarted(open_notebook: OpenNotebook) -> None:
    """As ipykernel 7.3.0 can be when its notebook has just been opened."""
    nb = open_notebook(["import os; os.getpid()", "1 + 1"])
    nb.run_and_wait(0)
    pid = int(nb.text(0))

    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(KernelDeafError, match="runs nothing"):
        nb.wait_until_ready()
    os.kill(pid, signal.SIGCONT)
    nb.restart_kernel()
    nb.run_and_wait(1)

    assert nb.text(1) == "2"


@pytest.mark.slow  # waits until a kernel counts as deaf
def test_a_kernel_that_is_deaf_from_the_start_is_restarted(open_notebook: OpenNotebook) -> None:
    """It then never says that it is idle: the page's first question was lost."""
    nb = open_notebook(["import os; os.getpid()", "1 + 1"])
    nb.run_and_wait(0)
    pid = int(nb.text(0))

    nb.page.evaluate(f"() => {{ {KERNEL}.requestExecute({{ code: 'import time; time.sleep(1)' }}); }}")
    nb.page.wait_for_function(f"() => {KERNEL}.status === 'busy'")
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(KernelDeafError, match="tells nothing"):
        nb.wait_until_ready()
    os.kill(pid, signal.SIGCONT)
    nb.restart_kernel()
    nb.run_and_wait(1)

    assert nb.text(1) == "2"


def test_a_cell_that_blocks_does_not_block_the_test(open_notebook: OpenNotebook) -> None:
    """Clicks during `wait()` are what this package is about."""
    nb = open_notebook(
        [
            WIDGET,
            "threading.Timer(0.5, lambda: setattr(counter, 'count', 41)).start(); time.sleep(60)",
            "1 / 0",
        ]
    )
    nb.run_and_wait(0)

    nb.run(1)
    expect(nb.output(0).get_by_role("button", name="count is 41")).to_be_visible()
    was_running = nb.is_running(1)
    nb.interrupt()
    nb.wait_for_cell(1)

    assert was_running
    assert "KeyboardInterrupt" in nb.text(1)
    with pytest.raises(LabError, match="ZeroDivisionError"):
        nb.run_and_wait(2)


def test_a_saved_notebook_reopens_with_its_outputs(open_notebook: OpenNotebook) -> None:
    """Reload, theme and console: what the view's tests rely on."""
    nb = open_notebook(["print('kept')", "console = 1"])
    nb.run_and_wait(0)

    saved = nb.save()
    nb.reload()
    nb.set_theme(dark=True)
    nb.screenshot("harness-dark")
    nb.page.evaluate("() => { console.error('said by the test'); }")

    assert saved["cells"][0]["outputs"][0]["text"] in ("kept\n", ["kept\n"])
    assert nb.text(0) == "kept\n"
    assert any("said by the test" in line for line in nb.errors)
    assert len(nb.errors) == 1
