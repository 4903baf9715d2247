from .chunks import read_column as read_column
from .dataset import infer_dataset as infer_dataset
from .plan import plan_catalog as plan_catalog
from .stream import infer_file as infer_file
