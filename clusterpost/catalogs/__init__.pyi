from .columns import BandColumns as BandColumns
from .distances import (
    distance_table as distance_table,
)
from .distances import (
    galaxy_distance as galaxy_distance,
)
from .distances import (
    resolve_galaxy as resolve_galaxy,
)
from .layouts import Layout as Layout
from .legus import (
    label_legus as label_legus,
)
from .legus import (
    read_legus as read_legus,
)
from .levels import (
    check_levels as check_levels,
)
from .levels import (
    correct_aperture as correct_aperture,
)
from .nsa import (
    read_nsa as read_nsa,
)
from .nsa import (
    read_sdss as read_sdss,
)
from .published import published_columns as published_columns
from .reader import read_catalog as read_catalog
from .recognition import recognize as recognize
from .resolved import read_phat as read_phat
