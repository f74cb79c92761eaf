from tests.client.conftest import hub as hub
from tests.client.conftest import leaves_nothing_behind as leaves_nothing_behind
from tests.client.conftest import proxy as proxy
