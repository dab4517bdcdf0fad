"""Writing and opening a data set: Parquet shards and a card (docs/data-format.md)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

from jointdistill.data.card import dump, parse, with_fingerprint
from jointdistill.data.shards import Row, Shard, encode_shard, fetch_shard, shard_name, shards_of
from jointdistill.store.base import AlreadyThere, Missing, Store
from jointdistill.store.sealed import sha256
from jointdistill.types import Card, Refusal

CARD = "card.json"
"""The file that says what is in the others."""


def write_set(
    store: Store, card: Card, splits: Mapping[str, Iterable[Row]], columns: Iterable[str], frames: int = 256
) -> Card:
    """Write a data set, `frames` a shard; returns the card with splits, shards and fingerprint filled in.

    `columns` are the truths. The card is written last: without it there is no data set. Writing the same
    once more, after a kill say, goes on over the shards that are already there.

    Raises `Refusal` where another data set is in the way, or a key comes twice.
    """
    parse(dump(card), "The card")  # what could not be read back is not written
    columns = sorted(columns)
    images, shards, keys = Counter[str](), dict[str, str](), set[str]()
    for split, rows in splits.items():
        for number, part in enumerate(_parts(rows, frames)):
            _note_keys(keys, [row.key for row in part], shard_name(split, number))
            stored = encode_shard(part, columns)
            _put(store, shard_name(split, number), stored)
            shards[shard_name(split, number)] = sha256(stored)
            images[split] += len(part)
    card = replace(card, splits=dict(images), shards=shards)
    _put(store, CARD, dump(card))
    return with_fingerprint(card)


def read_card(store: Store) -> Card:
    """The card of a data set, complete with its fingerprint.

    A card that does not list splits and shards is completed by reading every file once, so do it in one
    process and pass the card on.

    Raises `Refusal` where there is no card, or it does not fit the files.
    """
    try:
        card = parse(store.get(CARD), f"{CARD} in {store}")
    except Missing as error:
        raise Refusal(
            f"There is no {CARD} in {store}: check the address, or draw the default data set with "
            "`python jobs/prepare.py scenes`."
        ) from error
    return with_fingerprint(card if card.shards and card.splits else _survey(store, card))


def _survey(store: Store, card: Card) -> Card:
    """The card with splits and shards as they are found."""
    files = [key for key in store.list() if "/" not in key and key.endswith(".parquet")]
    images, shards, keys = Counter[str](), dict[str, str](), set[str]()
    for split, found in shards_of([*files, *(card.shards.keys() - files)], store).items():
        for file in found:
            stored = fetch_shard(store, card, file)
            shard = Shard(stored, file)
            _note_keys(keys, shard.keys, file)
            shards[file] = sha256(stored)
            images[split] += len(shard)
    if not images:
        raise Refusal(f"There is no SPLIT-00000.parquet in {store}: add the frames.")
    if empty := [split for split, count in images.items() if not count]:
        raise Refusal(f"The split '{empty[0]}' of {store} has no image: add some, or remove its files.")
    if card.splits and card.splits != images:
        raise Refusal(
            f"{store} holds {dict(images)} images, not {dict(card.splits)} as on its card: correct one."
        )
    return replace(card, splits=dict(images), shards=shards)


def _parts(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    remaining = iter(rows)
    while part := list(islice(remaining, size)):
        yield part


def _note_keys(seen: set[str], keys: list[str], file: str) -> None:
    """Add keys to those seen. Unique means over all splits: a test image must not be trained on."""
    for key in keys:
        if key in seen:
            raise Refusal(f"{file} has key '{key}', which another row has too: give each frame its own key.")
        seen.add(key)


def _put(store: Store, file: str, value: bytes) -> None:
    try:
        store.put(file, value)
    except AlreadyThere:
        if store.get(file) != value:
            raise Refusal(f"{store} already holds another {file}: choose an empty folder.") from None
