#!/usr/bin/python3
"""A headless QGIS job: add_feature.py PROJECT.qgz SOME_VALUE

Opens the project, adds one point to its layer `ninja_point`, and prints which
database role the point was written as, as one line: `pg_user=<role>`. The role
is what the database's own trigger recorded, read back after the commit.

It knows nothing of secrets: QGIS asks libpq for the service `ninja`, and libpq
finds it where the job's environment says.
"""

import os
import sys

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from qgis.core import (  # noqa: E402 (Qt reads its platform at import)
    QgsApplication,
    QgsExpression,
    QgsFeatureRequest,
    QgsGeometry,
    QgsPointXY,
    QgsProject,
    QgsVectorLayer,
    QgsVectorLayerUtils,
)

LAYER_NAME = "ninja_point"


class JobError(Exception):
    """Something that ends the job; the message is for the person who reads its log."""


class Messages:
    """Collects what QGIS's PostGIS provider says: libpq's errors arrive only there."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        QgsApplication.messageLog().messageReceived.connect(self._receive)

    def _receive(self, text: str, tag: str, _level: int) -> None:
        line = " ".join(text.split())
        if tag == "PostGIS" and line not in self.lines:
            self.lines.append(line)

    def __str__(self) -> str:
        return "; ".join(self.lines) or "QGIS gives no reason"


def open_layer(path: str, messages: Messages) -> QgsVectorLayer:
    if not QgsProject.instance().read(path):
        raise JobError(f"cannot read the project {path}: {QgsProject.instance().error()}")
    layers = QgsProject.instance().mapLayersByName(LAYER_NAME)
    if len(layers) != 1:
        raise JobError(f"the project has {len(layers)} layers named {LAYER_NAME}, not one")
    if not layers[0].isValid():
        raise JobError(f"the layer {LAYER_NAME} cannot be opened: {messages}")
    return layers[0]


def add_point(layer: QgsVectorLayer, some_value: str, messages: Messages) -> None:
    """Adds and commits; for the commit QGIS opens a connection of its own."""
    if not layer.startEditing():
        raise JobError(f"the layer {LAYER_NAME} cannot be edited: {messages}")
    feature = QgsVectorLayerUtils.createFeature(
        layer,
        QgsGeometry.fromPointXY(QgsPointXY(8.5417, 47.3769)),
        {layer.fields().lookupField("some_value"): some_value},
    )
    if not layer.addFeature(feature):
        raise JobError("the layer does not take the new feature")
    if not layer.commitChanges():
        raise JobError("; ".join(layer.commitErrors()))


def read_pg_user(layer: QgsVectorLayer, some_value: str) -> str:
    """Reads the row again from the database, past the layer's own memory of it."""
    same_value = QgsExpression.createFieldEqualityExpression("some_value", some_value)
    request = QgsFeatureRequest().setFilterExpression(same_value)
    roles = [feature["pg_user"] for feature in layer.dataProvider().getFeatures(request)]
    if len(roles) != 1:
        raise JobError(f"{len(roles)} rows have the value {some_value!r}, not one")
    return roles[0]


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: add_feature.py PROJECT.qgz SOME_VALUE", file=sys.stderr)
        return 2
    QgsApplication.setPrefixPath("/usr", True)
    application = QgsApplication([], False)
    application.initQgis()
    messages = Messages()
    try:
        layer = open_layer(sys.argv[1], messages)
        add_point(layer, sys.argv[2], messages)
        print(f"pg_user={read_pg_user(layer, sys.argv[2])}", flush=True)
    except JobError as error:
        print(f"add_feature: {error}", file=sys.stderr)
        return 1
    finally:
        QgsProject.instance().clear()
        application.exitQgis()
    return 0


if __name__ == "__main__":
    sys.exit(main())
