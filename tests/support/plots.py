"""What tests of charts do with a page: find a point, hover over it and click it."""

_PLACE = """([selector, trace, point]) => {
  const plot = document.querySelector(selector);
  plot.scrollIntoView({block: "center"});
  const {xaxis, yaxis} = plot._fullLayout, {x, y} = plot.data[trace], box = plot.getBoundingClientRect();
  return [box.x + xaxis._offset + xaxis.d2p(x[point]), box.y + yaxis._offset + yaxis.d2p(y[point])];
}"""


def hover(page, selector, trace, point):
    """Move the mouse to a point of a plot and return the lines of the label that appears."""
    page.mouse.move(*page.evaluate(_PLACE, [selector, trace, point]))
    page.wait_for_selector(f"{selector} .hoverlayer .hovertext")
    lines = page.locator(f"{selector} .hoverlayer .hovertext text.nums .line").all_text_contents()
    return lines or page.locator(f"{selector} .hoverlayer .hovertext text.nums").all_text_contents()


def click(page, selector, trace, point):
    """Click a point of a plot."""
    page.mouse.click(*page.evaluate(_PLACE, [selector, trace, point]))


def dots(page, selector):
    """Return the number of dots that are drawn."""
    return page.locator(f"{selector} .scatterlayer .points path").count()
