"""How a zoo lies on disk: atomic files, journal, shards, tables."""

from zoo.storage.atomic import TEMPORARY_PREFIX as TEMPORARY_PREFIX
from zoo.storage.atomic import sha256_of as sha256_of
from zoo.storage.atomic import write_file as write_file
from zoo.storage.journal import JOURNAL as JOURNAL
from zoo.storage.journal import LOCK as LOCK
from zoo.storage.journal import Entry as Entry
from zoo.storage.journal import Journal as Journal
from zoo.storage.journal import commit as commit
from zoo.storage.journal import enter as enter
from zoo.storage.journal import read_journal as read_journal
from zoo.storage.journal import writer_lock as writer_lock
from zoo.storage.series import Arrays as Arrays
from zoo.storage.series import read_series as read_series
from zoo.storage.series import write_series as write_series
from zoo.storage.shards import Shard as Shard
from zoo.storage.shards import open_shard as open_shard
from zoo.storage.shards import write_shard as write_shard
from zoo.storage.tables import parquet_bytes as parquet_bytes
from zoo.storage.tables import read_parquet as read_parquet
