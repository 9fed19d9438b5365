"""Tests the page of a running service in a real browser: ``python -m benchmarks.service_browser http://127.0.0.1:8000/``.

Needs Chromium with its driver and ``pip install selenium``; neither is part of the environment. It enters titles by keyboard,
compares the displayed lists with the answer of ``POST /recommend``, asks why a title is missing, and checks that the page loads
nothing from other servers and that the console has no messages. ``--screenshots`` names a folder for screenshots.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import requests
import typer

from llara_core.errors import ConfigError, DataError
from pipeline.stage import run


def main(
    url: str,
    typed: Annotated[list[str], typer.Option(help="Part of a title, whose first match is added; repeat the option.")],
    screenshots: Annotated[Path | None, typer.Option(help="Folder for screenshots.")] = None,
) -> None:
    """Uses the page at URL by keyboard only."""
    from selenium import webdriver
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.wait import WebDriverWait

    driver = shutil.which("chromedriver")
    if driver is None:
        raise ConfigError("chromedriver is not on the PATH; on Debian: apt-get install chromium-driver")
    options = webdriver.ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1280,1100"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser: Any = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    wait = WebDriverWait(browser, 60)

    def texts(selector: str) -> list[str]:
        return [one.text for one in browser.find_elements(By.CSS_SELECTOR, selector)]

    def keep(name: str) -> None:
        if screenshots is not None:
            screenshots.mkdir(parents=True, exist_ok=True)
            browser.save_screenshot(str(screenshots / f"{name}.png"))

    def press(*keys: str) -> None:
        browser.switch_to.active_element.send_keys(*keys)

    def choose(part: str) -> None:
        box = browser.switch_to.active_element
        box.send_keys(part)
        chosen = f"#{box.get_attribute('aria-controls')} [aria-selected=true]"
        wait.until(lambda _: any(part.lower() in text.lower() for text in texts(chosen)))

    try:
        browser.get(url)
        wait.until(lambda _: " on " in texts("#about-system")[0])
        wait.until(lambda _: texts("#example-shows")[0])
        popular = ", ".join(item["label"] for item in _get(f"{url}items", limit=3))
        _expect("example", texts("#example-shows")[0].partition(": what ")[0], popular)
        keep("0_empty")
        browser.find_element(By.ID, "search").click()
        for part in typed:
            choose(part)
            keep("1_typing")
            press(Keys.ENTER)
        history = texts("#history li > span")
        _expect("items of the history", len(history), len(typed))
        press(Keys.ESCAPE)
        for _ in range(3 * len(typed)):  # over the buttons of the items to the number; disabled buttons are skipped
            press(Keys.TAB)
            if browser.switch_to.active_element.get_attribute("id") == "top":
                break
        press(Keys.ENTER)
        wait.until(lambda _: texts("#ranked tr"))
        keep("2_answer")
        ids = {item["label"]: f"id:{item['item']}" for name in history for item in _get(f"{url}items", query=name)}
        expected = requests.post(f"{url}recommend", json={"history": [ids[name] for name in history]}, timeout=60).json()
        _expect("recommended", _labels(browser, "#ranked"), [one["label"] for one in expected["recommendations"]])
        alone = expected["recommender"]
        _expect("alone", _labels(browser, "#alone"), [one["label"] for one in alone["recommendations"]] if alone else [])
        reasons = [f"{one['label']} {one['why']}" for one in expected["excluded"]]
        _expect("excluded", texts("#excluded tr"), reasons)

        n_before = len(reasons)
        browser.find_element(By.ID, "why").click()
        listed = {one["label"] for one in expected["recommendations"]} | {one["label"] for one in expected["excluded"]}
        other = next(item["label"] for item in _get(f"{url}items", limit=100) if item["label"] not in listed)
        choose(other)
        press(Keys.ENTER)
        wait.until(lambda _: len(texts("#excluded tr")) == n_before + 1)
        _expect("asked about", texts("#excluded tr")[0].startswith(other), True)
        keep("3_why")

        browser.set_window_size(420, 1000)
        keep("4_narrow")
        width = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
        _expect("pixels beyond a narrow window", width, 0)
        browser.get(f"{url}docs")
        wait.until(lambda _: texts(".opblock-summary-path"))
        browser.set_window_size(1280, 1000)
        keep("5_docs")
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
        _expect("messages in the console", severe, [])
        sent = [
            entry["message"] for entry in browser.get_log("performance") if 'Network.requestWillBeSent"' in entry["message"]
        ]
        outside = [message for message in sent if f'"url":"{url}' not in message and '"url":"data:' not in message]
        _expect("requests to elsewhere", outside, [])
    finally:
        browser.quit()
    typer.echo(
        f"the page works: {len(expected['recommendations'])} items for {', '.join(history)}; {len(sent)} requests, all to {url}"
    )


def _get(url: str, **query: Any) -> Any:
    return requests.get(url, params=query, timeout=60).json()


def _labels(browser: Any, table: str) -> list[str]:
    rows = browser.find_elements("css selector", f"{table} td:nth-child(2)")
    return [row.text.removesuffix(" ●") for row in rows]


def _expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise DataError(f"{what}: the page shows {found!r}, but {expected!r} is expected")


if __name__ == "__main__":
    run(main)
