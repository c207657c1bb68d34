"""MovieLens (GroupLens): 100K, 1M, 10M, the later CSV releases, and re-packed copies. Every rating is an event.

A rating says that the film was watched, so low ones are kept too and the rating itself is not read; whoever wants
"liked only" filters the file first. 100K separates by tab and ``|``, 1M and 10M by ``::``, all without header line.
Research use only: see the terms that come with the files.
"""

from __future__ import annotations

from aisle.data.presets.base import Preset, columns
from aisle.data.schema import Mapping, TableMapping

_NOTE = "every rating is an event, whatever its value."
_GENRES = (
    *("unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama"),
    *("Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western"),
)
_100K = Preset(
    mapping=Mapping(
        name="movielens",
        tables=(
            TableMapping(
                "transactions",
                ("u.data",),
                columns(customer_id="user_id", product_id="item_id", timestamp="timestamp"),
                ignore=("rating",),
                header=("user_id", "item_id", "rating", "timestamp"),
                separator="\t",
                time_from="s",
            ),
            TableMapping(
                "products",
                ("u.item",),
                columns(product_id="movie_id", name="title"),
                ignore=("video_release_date", "imdb_url"),
                header=("movie_id", "title", "release_date", "video_release_date", "imdb_url", *_GENRES),
                separator="|",
            ),
            TableMapping(
                "customers",
                ("u.user",),
                columns(customer_id="user_id"),
                header=("user_id", "age", "gender", "occupation", "zip_code"),
                separator="|",
            ),
        ),
        numeric_ids=True,
        note=f"MovieLens 100K; {_NOTE}",
    ),
    required=(),
)
_DAT = Preset(
    mapping=Mapping(
        name="movielens",
        tables=(
            TableMapping(
                "transactions",
                ("ratings.dat",),
                columns(customer_id="user_id", product_id="movie_id", timestamp="timestamp"),
                ignore=("rating",),
                header=("user_id", "movie_id", "rating", "timestamp"),
                separator="::",
                time_from="s",
            ),
            TableMapping(
                "products",
                ("movies.dat",),
                columns(product_id="movie_id", name="title", category_1="genres"),
                header=("movie_id", "title", "genres"),
                separator="::",
            ),
            TableMapping(
                "customers",
                ("users.dat",),
                columns(customer_id="user_id"),
                header=("user_id", "gender", "age", "occupation", "zip_code"),
                separator="::",
            ),
        ),
        numeric_ids=True,
        note=f"MovieLens 1M or 10M; {_NOTE}",
    ),
    required=(),
)
_CSV = Preset(
    mapping=Mapping(
        name="movielens",
        tables=(
            TableMapping(
                "transactions",
                ("ratings*.*",),
                columns(customer_id="userId", product_id="movieId", timestamp="timestamp"),
                ignore=("rating",),
                time_from="s",
            ),
            TableMapping("products", ("movies*.*",), columns(product_id="movieId", name="title", category_1="genres")),
        ),
        numeric_ids=True,
        note=f"MovieLens 20M and later; {_NOTE} Tags and links are not read.",
    ),
    required=("userId", "movieId", "rating", "timestamp"),
)
_COPY_100K = Preset(
    mapping=Mapping(
        name="movielens",
        tables=(
            TableMapping(
                "transactions",
                ("interactions*.*",),
                columns(customer_id="user_id", product_id="item_id", timestamp="timestamp"),
                ignore=("rating",),
                time_from="s",
            ),
            TableMapping(
                "products", ("items*.*",), columns(product_id="item_id", name="movie_title", category_1="class")
            ),
            TableMapping("customers", ("users*.*",), columns(customer_id="user_id")),
        ),
        numeric_ids=True,
        note=f"MovieLens 100K, three-table copy; {_NOTE}",
    ),
    required=("user_id", "item_id", "rating", "timestamp"),
    beside=("items*.*", "users*.*"),
)
_COPY_1M = Preset(
    mapping=Mapping(
        name="movielens",
        tables=(
            TableMapping(
                "transactions",
                ("interactions*.*",),
                columns(customer_id="user_id", product_id="movie_id", sequence="position"),
                ignore=("split",),
            ),
            TableMapping("products", ("movies*.*",), columns(product_id="movie_id", name="title", category_1="genres")),
            TableMapping("customers", ("users*.*",), columns(customer_id="user_id")),
        ),
        numeric_ids=True,
        note="MovieLens 1M, ordered copy: order only; files without position are not read.",
    ),
    required=("user_id", "movie_id", "position"),
)
FORMS = (_100K, _DAT, _CSV, _COPY_100K, _COPY_1M)
