"""The `data` section of a recipe: what every data set shares; the sets themselves are in `data/datasets`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from hlcli.files import write_json
from hlcli.section_base import Fraction, Section

if TYPE_CHECKING:
    from hlcli.data.datasets.base import DownloadOptions, DownloadReport, PlannedFile, Prepared, Source
    from hlcli.data.labels import LabelSpace
    from hlcli.data.records import Records


class PrepareOptions(Section):
    """Options of `hlcli preprocess` that one data set alone has.

    A set that is prepared has a subclass; its fields are the command line's options, `max_missing` `--max-missing`.
    """


_StoreAddress = Annotated[str, Field(pattern=r"^[a-zA-Z][a-zA-Z0-9+.]+(::[a-zA-Z].*)?://.+")]
"""Where a store lies that is not on this machine's disk (docs/store.md); one letter is a disk of Windows."""


class DataSection(Section):
    """What every data set's section shares: where it is and how images become tensors."""

    reads_directly: ClassVar[bool] = False  # True: usable without `hlcli preprocess`
    prepare_options: ClassVar[type[PrepareOptions]] = PrepareOptions
    download_options: ClassVar[frozenset[str]] = frozenset()  # fields of DownloadOptions that few data sets have
    other_names: ClassVar[tuple[str, ...]] = ()  # that the data set goes by; `data_set_name` of recipe.py knows them
    drawn_together: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # names of labels that share a heat map, by its name
    short_names: ClassVar[Mapping[str, str]] = {}  # of labels whose own names are too long beside a heat map

    root: Path | None = Field(None, description="Data root; default $HLCLI_DATA, else ./data.")
    store: Path | _StoreAddress | None = Field(
        None,
        description="Prepared store to read instead of ROOT/NAME/store: a folder, or an address such as s3://….",
    )
    image_size: Annotated[int, Field(ge=8)] | tuple[Annotated[int, Field(ge=8)], Annotated[int, Field(ge=8)]] = Field(
        224, description="Side in pixels, or [height, width]."
    )
    resize: Literal["stretch", "crop"] = Field(
        "stretch",
        description="To image_size by stretching, or by scaling the shorter side (bicubic) and cutting out the centre, "
        "as CLIP does.",
    )
    pixels: Literal["exact", "fast"] = Field(
        "exact",
        description="Pillow's pixels, as the papers' programs have them; fast: resized by torch, and large JPEG files "
        "decoded at 1/2, 1/4 or 1/8 of their size, which changes values a little (docs/image_files.md).",
    )
    normalization: Literal["imagenet", "clip", "half", "none"] = Field(
        "imagenet",
        description="Mean and deviation of the colours that are taken out; half brings them to -1…1 (what ViT weights "
        "expect), none leaves them from 0 to 1.",
    )
    randaugment: bool = Field(False, description="The reference's RandAugment: two operations of fifteen.")
    cutout: int = Field(0, ge=0, description="Number of random rectangles painted over an image.")
    cutout_length: int | None = Field(None, ge=1, description="Their side in pixels; default cutout_fraction of it.")
    cutout_fraction: Fraction = Field(0.5, description="Their side as a share of the image's.")
    horizontal_flip: bool = Field(False, description="Mirror half of the training images.")
    random_shift: int = Field(0, ge=0, description="Largest random shift in pixels, up to each side.")
    workers: int = Field(2, ge=0, description="Loader processes per process; 0 loads in the main one.")
    skip: tuple[str, ...] = Field((), description="Image ids that are left out, e.g. undecodable ones.")
    labels_kept: Literal["all", "single"] | Annotated[float, Field(gt=0, lt=1)] = Field(
        "all",
        description="Labels that training images keep: all, a single one drawn at random, or each with this "
        "probability. The others count as not observed.",
    )
    labels_kept_seed: int = Field(0, ge=0, description="Decides which labels are kept.")
    labels_list: Path | None = Field(
        None, description="List `path,index index` that says which training images there are, and their labels."
    )
    grid_features: Path | None = Field(
        None, description="Captioning: HDF5 file of grid features; null takes them from the images, by the backbone."
    )
    region_features: Path | None = Field(
        None, description="Captioning: HDF5 file of region features; null pools windows of the grid."
    )
    max_regions: int = Field(50, ge=1, description="Captioning: regions per image that are read from region_features.")
    vocabulary: Path | None = Field(
        None, description="Captioning: words from this file (a run's vocabulary.json, or vocab.pkl of the paper)."
    )
    min_word_count: int = Field(
        5, ge=1, description="Captioning: a word that train and val captions use less often is unknown."
    )

    @property
    def name(self) -> str:
        """The data set's name, as in `data.dataset`."""
        return str(type(self).model_fields["dataset"].default)

    @property
    def title(self) -> str:
        """What headings of figures and pages call it: its name; people's own images are called as their folder is."""
        return self.name

    @property
    def licence(self) -> str:
        """Terms of what `hlcli download` fetches, from `sources.yaml`; empty where there is nothing to fetch."""
        from hlcli.data.datasets.sources import published

        return published()[self.name].licence if self.name in published() else ""

    def note_licence(self) -> None:
        """Keep, in the data set's folder, which licence was shown and when; where photos have terms of their own.

        Without a folder nothing was fetched, and nothing is kept.

        Raises:
            HlcliError: when it cannot be written.
        """
        from hlcli.data.datasets.sources import published

        has_terms = self.name in published() and published()[self.name].has_terms
        if has_terms and self.folder().is_dir():
            note = {"shown": datetime.now(UTC).isoformat(timespec="seconds"), "text": self.licence}
            write_json(self.folder() / ".fetched" / "licence.json", note)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The published files, from `sources.yaml`."""
        from hlcli.data.datasets.sources import published

        return published()[self.name].sources if self.name in published() else ()

    @property
    def may_lack_files(self) -> bool:
        """Whether a download can end without some of the files: those placed by hand, or photos fetched singly."""
        return bool(self.download_options) or any(not source.urls for source in self.sources)

    @property
    def height_width(self) -> tuple[int, int]:
        """Image height and width in pixels."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    def folder(self) -> Path:
        """ROOT/NAME: the official layout as downloaded, and the store."""
        return (self.root or Path(os.environ.get("HLCLI_DATA", "data"))) / self.name

    def label_space(self) -> LabelSpace:
        """Names and levels of the labels, without reading a store."""
        raise NotImplementedError

    def chosen_labels(self, stored: LabelSpace) -> LabelSpace:
        """The label space that this section asks for, of a store that was written with `stored`."""
        return stored

    def split_names(self) -> tuple[str, ...]:
        """The splits that `records` knows; only where `reads_directly`."""
        raise NotImplementedError

    def download(self, folder: Path, options: DownloadOptions) -> DownloadReport:
        """Fetch the data set's files into `folder`; only where any are published."""
        from hlcli.data.transfers import archive_download

        return archive_download.download(self.name, self.sources, folder, options)

    def plan_download(self, folder: Path, options: DownloadOptions) -> list[PlannedFile]:
        """What `download` would do; writes nothing, opens no connection."""
        from hlcli.data.transfers import archive_plan

        return archive_plan.plan(self.name, self.sources, folder, options)

    def prepare(self, source: Path, options: Any) -> Prepared:
        """Read the official layout below `source`; only where not `reads_directly`.

        Args:
            source: folder of the official layout.
            options: an object of the class `prepare_options`.
        """
        raise NotImplementedError

    def records(self, split: str) -> Records:
        """The records of a split; only where `reads_directly`."""
        raise NotImplementedError
