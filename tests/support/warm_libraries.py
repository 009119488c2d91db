"""What programs of `warm_programs.py` find imported: all that many of them would import first."""

# ruff: noqa: F401
from __future__ import annotations

import atexit
import gc

import spacy.lang.en
from PIL import Image

import hlcli.captioning.objectives
import hlcli.cli.caption_report
import hlcli.cli.evaluation_report
import hlcli.cli.main
import hlcli.cli.profile_report
import hlcli.cli.tables
import hlcli.cli.training_report
import hlcli.data.transfers.archive_download
import hlcli.evaluation.captions
import hlcli.evaluation.labels
import hlcli.features.embedding
import hlcli.losses.asymmetric
import hlcli.methods.hin.model
import hlcli.methods.hleg.model
import hlcli.methods.hleg.objective
import hlcli.prediction.captions
import hlcli.tasks.captions
import hlcli.tasks.labels
import hlcli.training.loop

Image.init()
gc.freeze()  # no program looks for garbage among all this
atexit.register(gc.unfreeze)
