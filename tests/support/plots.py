"""What tests of charts do with a page: find a point, hover over it and click it."""

_PLACE = """([selector, trace, point]) => {
  const plot = document.querySelector(selector);
  plot.scrollIntoView({block: "center"});
  const {xaxis, yaxis} = plot._fullLayout, {x, y} = plot.data[trace], box = plot.getBoundingClientRect();
  return [box.x + xaxis._offset + xaxis.d2p(x[point]), box.y + yaxis._offset + yaxis.d2p(y[point])];
}"""


_HOVERS = """([selector, trace, point]) =>
  (document.querySelector(selector)._hoverdata || []).some((one) => one.curveNumber === trace && one.pointNumber === point)
"""


def move_to(page, selector, trace, point):
    """Move the mouse to a point of a plot, and wait until plotly has noticed."""
    page.mouse.move(*page.evaluate(_PLACE, [selector, trace, point]))
    page.wait_for_function(_HOVERS, arg=[selector, trace, point])


def hover(page, selector, trace, point):
    """Move the mouse to a point of a plot and return the lines of the label that appears."""
    move_to(page, selector, trace, point)
    page.wait_for_selector(f"{selector} .hoverlayer .hovertext")
    lines = page.locator(f"{selector} .hoverlayer .hovertext text.nums .line").all_text_contents()
    return lines or page.locator(f"{selector} .hoverlayer .hovertext text.nums").all_text_contents()


def click(page, selector, trace, point):
    """Click a point of a plot."""
    move_to(page, selector, trace, point)
    page.mouse.down()
    page.mouse.up()


def dots(page, selector):
    """Return the number of dots that are drawn."""
    return page.locator(f"{selector} .scatterlayer .points path").count()
