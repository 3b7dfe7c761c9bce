#!/usr/bin/python3
"""Makes the QGIS project of the demonstration: make_project.py PROJECT.qgz

The project has one layer, `ninja.ninja_point`, and knows its database only as
the pg_service `ninja`: no host, user, password or database name. To prove that
nothing else can have slipped in, it is made without any database connection.
"""

import os
import re
import sys
import zipfile

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# No service can be found, neither the caller's nor the machine's.
os.environ["PGSERVICEFILE"] = os.devnull
os.environ["PGSYSCONFDIR"] = os.devnull

from qgis.core import (  # noqa: E402 (Qt reads its platform at import)
    QgsApplication,
    QgsCoordinateReferenceSystem,
    QgsDataSourceUri,
    QgsProject,
    QgsReadWriteContext,
    QgsVectorLayer,
    QgsWkbTypes,
)
from qgis.PyQt.QtXml import QDomDocument  # noqa: E402

LAYER_NAME = "ninja_point"


def ninja_source() -> str:
    """The datasource of the layer: a service, and what the table looks like."""
    uri = QgsDataSourceUri()
    uri.setConnection("ninja", "", "", "")
    uri.setDataSource("ninja", "ninja_point", "geom", "", "id")
    uri.setSrid("4326")
    uri.setWkbType(QgsWkbTypes.Point)
    return uri.uri(False)


def make_project(path: str) -> None:
    """Writes the project, though its layer cannot be opened here.

    QGIS saves a layer that it could not open only from the XML that the layer
    was read from. This layer was not read from anywhere, so it is given its
    own XML first.
    """
    layer = QgsVectorLayer(ninja_source(), LAYER_NAME, "postgres")
    layer.setCrs(QgsCoordinateReferenceSystem("EPSG:4326"))

    document = QDomDocument()
    element = document.createElement("maplayer")
    if not layer.writeLayerXml(element, document, QgsReadWriteContext()):
        raise RuntimeError("QGIS could not describe the layer")
    document.appendChild(element)
    layer.setOriginalXmlProperties(document.toString())

    project = QgsProject.instance()
    project.setCrs(QgsCoordinateReferenceSystem("EPSG:4326"))
    project.addMapLayer(layer)
    if not project.write(path):
        raise RuntimeError(f"QGIS could not save the project: {project.error()}")


def check_project(path: str) -> None:
    """Reads the saved project as text: the layer is there, credentials are not."""
    with zipfile.ZipFile(path) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".qgs")]
        text = archive.read(name).decode("utf-8")
    # QGIS adds an empty layer for annotations, with an empty datasource.
    sources = re.findall(r"<datasource>(.+?)</datasource>", text)
    if len(sources) != 1 or not sources[0].startswith("service='ninja' "):
        raise RuntimeError(f"the saved project has unexpected datasources: {sources}")
    found = re.findall(r"\b(?:host|hostaddr|port|dbname|user|password|authcfg)='", text)
    if found:
        raise RuntimeError(f"the saved project holds connection details: {found}")


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: make_project.py PROJECT.qgz", file=sys.stderr)
        return 2
    QgsApplication.setPrefixPath("/usr", True)
    application = QgsApplication([], False)
    application.initQgis()
    try:
        make_project(sys.argv[1])
        check_project(sys.argv[1])
    except (RuntimeError, OSError) as error:
        print(f"make_project: {error}", file=sys.stderr)
        return 1
    finally:
        QgsProject.instance().clear()
        application.exitQgis()
    return 0


if __name__ == "__main__":
    sys.exit(main())
