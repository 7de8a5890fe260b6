"""Parameters of the fake hypervisor."""

from ganeti.hypervisor.declare import HypervisorParameters, for_cluster, one_of, text

PARAMETERS = HypervisorParameters(
    name="fake",
    parameters=(
        for_cluster(
            text("migration_mode", "live", "how instances are migrated", one_of("live", "non-live"), required=True)
        ),
    ),
)
