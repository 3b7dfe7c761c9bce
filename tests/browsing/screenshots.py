"""Takes the pictures of the page that the README shows.

    screenshots.py --binary target/debug/qgis-secrets --to docs/images
"""

from __future__ import annotations

import argparse
import base64
import io
import sys
from pathlib import Path

sys.dont_write_bytecode = True

from PIL import Image  # noqa: E402

from ground.browser import Browser  # noqa: E402
from ground.service import Service  # noqa: E402

PROJECT, ORGANIZATION = "ninja/field-survey", "ninja"
OTHERS = ["alpine-club/huts", "alpine-club/trails", "ninja/street-trees", "ninja/water"]
LARGEST_BYTES = 150_000


class Photographer(Browser):
    """Somebody who shows what they do."""

    def __init__(self, to: Path) -> None:
        super().__init__(width=1280, height=900)
        self.to = to

    def take(self, name: str, scheme: str = "light") -> None:
        """The whole page, 1280 pixels wide, without what is below its content."""
        driver = self.driver
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": "reduce"},
        ]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        driver.execute_script("document.activeElement.blur()")
        bottom = "return Math.ceil(document.querySelector('main').getBoundingClientRect().bottom)"
        height = driver.execute_script(bottom + " + scrollY")
        clip = {"x": 0, "y": 0, "width": 1280, "height": height, "scale": 1}
        options = {"format": "png", "clip": clip, "captureBeyondViewport": True}
        shot = driver.execute_cdp_cmd("Page.captureScreenshot", options)
        image = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB")
        path = self.to / f"{name}.png"
        image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        assert (size := path.stat().st_size) <= LARGEST_BYTES, f"{name} has {size} bytes"


def add_service(person: Browser, place: str, role: str, name: str, user: str = "") -> None:
    person.open(f"{place}/secrets/new?kind=pgservice")
    fill_in(person, role, name)
    if user:
        person.choose("Assigned to (optional)", user)
    person.press("Save the secret")


def fill_in(person: Browser, role: str, name: str) -> None:
    person.fill("Service name", name)
    person.fill("Database (optional)", "survey")
    person.fill("Host (optional)", "db.example.org")
    person.fill("Port (optional)", "5432")
    person.fill("User (optional)", role)
    person.fill("Password (optional)", "not-a-real-password")
    person.choose("SSL (optional)", "verify-full – always, checks certificate and host")


def add_variable(person: Browser, place: str, name: str, value: str, open_: bool = False) -> None:
    person.open(f"{place}/secrets/new?kind=envvar")
    person.fill("Name", name)
    person.fill("Value", value)
    if open_:
        person.tick("Not sensitive")
    person.press("Save the secret")


def show(service: Service, person: Photographer) -> None:
    person.open(service.link)
    person.press("Log in as an operator")
    person.open(service.origin + "/access")
    person.fill("Name of a new token", "orchestrator")
    person.choose("It may", "Add and remove secrets too")
    person.press("Make a token")
    token = person.shown_once()
    for other in OTHERS:
        service.register(token, other, other.split("/")[0], ["ada", "bob", "cleo"])
    service.register(token, PROJECT, ORGANIZATION, ["ada", "bob"])
    organization = f"{service.origin}/organizations/{ORGANIZATION}"
    project = f"{service.origin}/projects/{PROJECT.replace('/', '%2F')}"
    add_service(person, organization, "ninja_org", "ninja")
    add_variable(person, organization, "TILES_API_KEY", "not-a-real-key-of-tiles")
    add_variable(person, organization, "SURVEY_CRS", "EPSG:2056", open_=True)
    add_service(person, project, "ninja_project", "ninja")
    add_variable(person, project, "TILES_API_KEY", "not-a-real-key-of-tiles")
    add_service(person, project, "ninja_user", "ninja", "ada")
    add_service(person, f"{service.origin}/projects/ninja%2Fwater", "water_reader", "network")
    add_variable(person, f"{service.origin}/organizations/alpine-club", "DEM_KEY", "not-a-real-key")
    person.open(service.origin + "/")
    person.take("overview")
    person.open(f"{project}/secrets")
    person.take("secrets")
    person.take("secrets-dark", "dark")

    person.open(f"{project}/secrets/new?kind=pgservice")
    fill_in(person, "survey_reader", "basemap")
    person.press("Add extra pgservice field")
    person.fill("Setting", "connect_timeout")
    person.fill("Value", "10")
    person.choose("Assigned to (optional)", "ada")
    person.take("simple-editor")

    person.open(f"{project}/effective")
    person.choose("The job runs for", "ada")
    person.press("Show")
    person.take("effective")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--binary", type=Path, required=True)
    parser.add_argument("--to", type=Path, required=True)
    options = parser.parse_args()
    options.to.mkdir(parents=True, exist_ok=True)
    with Service(options.binary) as service, Photographer(options.to) as person:
        show(service, person)


if __name__ == "__main__":
    main()
