from tests.producer.conftest import own_spool as own_spool
from tests.producer.conftest import reported as reported
