from .dataset import (
    infer_dataset as infer_dataset,
)
from .dataset import (
    read_column as read_column,
)
from .plan import plan_catalog as plan_catalog
from .stream import infer_file as infer_file
