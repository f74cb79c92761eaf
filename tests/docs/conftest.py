from tests.contract.export.conftest import go as go
from tests.contract.export.conftest import node as node
from tests.producer.conftest import own_spool as own_spool
from tests.producer.conftest import reported as reported
