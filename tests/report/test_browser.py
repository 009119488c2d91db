"""Reports in a real browser, as people meet them: phone and desktop, dark and light, keyboard, paper.

Debian: `apt-get install chromium chromium-driver`.
"""

from __future__ import annotations

import base64
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_pages import HOSTILE, SMALL, made_report
from tiny_captioner import write_captioner
from tiny_label_models import tiny_label_model

import hlcli
from hlcli.data.labels import LabelSpace

_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
_DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    _CHROMIUM is None or _DRIVER is None, reason="needs a browser: apt-get install chromium chromium-driver"
)

PAGES = ("method", "scenes", "many", "captions")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A method with maps and a tree, one with scenes; many labels, odd names among them; captions."""
    folder = tmp_path_factory.mktemp("pages")
    files = {name: folder / f"{name}.html" for name in PAGES}
    hlcli.evaluate(tiny_label_model("hleg", *SMALL), split="test", report=files["method"])
    salgl = tiny_label_model("salgl", *SMALL)
    salgl.recipe.model.cooccurrence(salgl.model).add_(5)  # type: ignore[union-attr]
    hlcli.evaluate(salgl, split="test", report=files["scenes"])
    names = [f"label {number:03d} of a name that is rather long" for number in range(260)]
    made_report(files["many"], LabelSpace.flat([HOSTILE, "x" * 200, *names]), name=HOSTILE)
    hlcli.evaluate_captions(write_captioner(folder / "m"), "test", report=files["captions"])
    return files


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="the extra `test` brings selenium")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(_CHROMIUM)
    profile = tmp_path_factory.mktemp("profile")
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", f"--user-data-dir={profile}"
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(_DRIVER))
    yield driver
    driver.quit()


def show(browser: Any, page: Path, *, width: int = 1280, scheme: str = "light") -> None:
    """Open a page in a window of that width."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    browser.get(page.as_uri())


def find(browser: Any, selector: str) -> Any:
    return browser.find_element("css selector", selector)


def shown_rows(browser: Any, table: str) -> list[str]:
    """First cells of the rows that are shown."""
    script = "return [...document.querySelectorAll(arguments[0])].filter(r => !r.hidden).map(r => r.cells[0].innerText)"
    return browser.execute_script(script, f"#{table} tbody tr")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_overflows_and_the_console_is_empty(browser: Any, pages: Any, name: str, width: int, scheme: str):
    show(browser, pages[name], width=width, scheme=scheme)
    page = "document.documentElement"
    assert browser.execute_script(f"return {page}.scrollWidth - {page}.clientWidth") == 0
    outside = browser.execute_script(
        """return [...document.querySelectorAll("main *")].filter(e => !e.closest(".scroll, nav") &&
        e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert outside == []
    assert browser.get_log("browser") == []
    assert browser.title != "broken"


def test_names_of_metrics_stand_whole_on_a_phone(browser: Any, pages: Any):
    show(browser, pages["method"], width=360)
    heights = browser.execute_script(
        "return [...document.querySelectorAll('#headline tbody th')].map(e => e.getBoundingClientRect().height)"
    )
    assert len(heights) > 10
    assert max(heights) < 1.5 * min(heights)


def test_colours_follow_the_system_and_can_be_read(browser: Any, pages: Any):
    for scheme, is_dark in (("light", False), ("dark", True)):
        show(browser, pages["method"], scheme=scheme)
        page, ink, faint = (colour_of(browser, selector, what) for selector, what in (
            ("body", "backgroundColor"), ("body", "color"), (".reading", "color")))  # fmt: skip
        assert (luminance(page) < 0.1) == is_dark
        for text in (ink, faint):
            lighter, darker = sorted((luminance(text), luminance(page)), reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def colour_of(browser: Any, selector: str, what: str) -> list[int]:
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]].match(/\\d+/g).map(Number)"
    return browser.execute_script(script, selector, what)[:3]


def luminance(colour: list[int]) -> float:
    """Relative luminance of sRGB, as the contrast rules of the W3C define it."""
    parts = [value / 255 for value in colour]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_labels_are_sorted_and_found_by_keyboard(browser: Any, pages: Any):
    from selenium.webdriver.common.keys import Keys

    show(browser, pages["many"])
    assert len(shown_rows(browser, "label-table")) == 50
    assert find(browser, "#labels .status").text == "1–50 of 262"
    search = find(browser, "#labels input")
    search.send_keys("LABEL 25")
    assert shown_rows(browser, "label-table") == [f"label 25{n} of a name that is rather long" for n in range(10)]
    search.clear()
    search.send_keys("\b", Keys.TAB)
    while browser.switch_to.active_element.text != "F1":  # on by the tabulator, as people do who have no mouse
        browser.switch_to.active_element.send_keys(Keys.TAB)
    button = browser.switch_to.active_element
    assert button.tag_name == "button"
    assert browser.execute_script("return getComputedStyle(arguments[0]).outlineStyle", button) == "solid"
    heading = button.find_element("xpath", "..")
    values = {}
    for direction in ("descending", "ascending"):
        button.send_keys(Keys.ENTER)
        assert heading.get_attribute("aria-sort") == direction
        values[direction] = browser.execute_script(
            "return [...document.querySelectorAll('#label-table tbody tr')].filter(r => !r.hidden)"
            ".map(r => parseFloat(r.cells[4].innerText))"
        )
    assert values["descending"] == sorted(values["descending"], reverse=True)
    assert values["ascending"] == sorted(values["ascending"])
    assert max(values["ascending"]) < max(values["descending"])
    find(browser, "#labels [data-step='1']").send_keys(Keys.ENTER)
    assert find(browser, "#labels .status").text == "51–100 of 262"
    find(browser, "#labels [data-all]").send_keys(Keys.ENTER)
    assert len(shown_rows(browser, "label-table")) == 262


def test_levels_are_filtered_and_captions_sorted(browser: Any, pages: Any):
    from selenium.webdriver.support.ui import Select

    show(browser, pages["method"])
    Select(find(browser, "#labels select")).select_by_visible_text("coarse")
    assert shown_rows(browser, "label-table") == ["nature", "architecture", "transport"]
    show(browser, pages["captions"])
    before = shown_rows(browser, "caption-table")
    find(browser, "#caption-table th:nth-of-type(1) button").click()
    find(browser, "#caption-table th:nth-of-type(1) button").click()
    assert shown_rows(browser, "caption-table") == before[::-1]


def test_curves_are_added_and_removed(browser: Any, pages: Any):
    from selenium.webdriver.common.keys import Keys

    show(browser, pages["many"])
    lines = "return document.querySelectorAll('#chart-pr .lines path').length"
    assert browser.execute_script(lines) == 4
    field = find(browser, "#pr-controls input")
    known = browser.execute_script("return [...document.querySelectorAll('#pr-names option')].map(o => o.value)")
    field.send_keys("nothing", Keys.ENTER)
    assert find(browser, "#pr-controls .status").text == "There is no such label."
    field.clear()
    new = next(name for name in known if name.startswith("label") and name not in find(browser, "#chart-pr").text)
    field.send_keys(new, Keys.ENTER)
    assert browser.execute_script(lines) == 5
    assert new in find(browser, "#chart-pr .legend").text
    browser.find_elements("css selector", "#pr-controls .chips button")[-1].send_keys(Keys.ENTER)
    assert browser.execute_script(lines) == 4


@pytest.mark.parametrize("name", PAGES)
def test_on_paper_nothing_is_cut_or_folded(browser: Any, pages: Any, name: str):
    """The page is laid out for the printable width of A4, then made a PDF for real."""
    show(browser, pages[name], width=718)  # 190 mm at 96 dots per inch
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    cut = browser.execute_script(
        """return [...document.querySelectorAll(".scroll")].filter(e => e.scrollWidth > e.clientWidth + 1 &&
        getComputedStyle(e).overflowX !== "visible").map(e => e.getAttribute("aria-label"))"""
    )
    wide = browser.execute_script(
        """return [...document.querySelectorAll("table")].filter(e => e.getBoundingClientRect().right > innerWidth + 1)
        .map(e => e.id + e.innerText.slice(0, 80))"""
    )
    assert (cut, wide) == ([], [])
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
    browser.execute_script("dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") > 0
    made = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert io.BytesIO(base64.b64decode(made["data"])).read(5) == b"%PDF-"
