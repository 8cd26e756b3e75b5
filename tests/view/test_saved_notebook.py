"""What a saved notebook shows where no widget runs: nbconvert's HTML, made without a browser and without a network."""

from __future__ import annotations

import pytest

from tiledag_widget import DAG

HOSTILE = "<img src=x onerror='window.__bad=1'></script>"


def test_nbconvert_shows_the_static_form_of_the_view() -> None:
    """A notebook that somebody mails to somebody: the run is told, nothing is fetched, nothing is executed."""
    nbformat = pytest.importorskip("nbformat")
    exporters = pytest.importorskip("nbconvert.exporters")

    def fails() -> None:
        raise ValueError("row 3 is not a number")

    dag = DAG(name="orders")
    dag.submit_local(fails, name=HOSTILE)
    dag.submit_local(int, name="fine")
    dag.compute()
    with pytest.raises(ValueError, match="row 3"):
        dag.wait(20)
    view = dag.visualize()
    data, metadata = view._repr_mimebundle_()
    output = nbformat.v4.new_output("display_data", data=data, metadata=metadata)
    cell = nbformat.v4.new_code_cell("dag.visualize()", outputs=[output], execution_count=1)

    body, _ = exporters.HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    view.close()

    shown = body[body.index("<body") :]
    assert "row 3 is not a number" in shown
    assert "1/2" in shown
    assert 'src="data:image/svg+xml;base64,' in shown
    assert HOSTILE not in shown
    assert "&lt;img src=x onerror=" in shown
    assert "application/vnd.jupyter.widget-view+json" not in shown
