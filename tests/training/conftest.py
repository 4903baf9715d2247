"""What all tests of training share."""

import pytest
from small_samples import small_samples


@pytest.fixture(scope="module", autouse=True)
def few_mocks():
    """Around a network, trainings draw few mocks."""
    with small_samples():
        yield
