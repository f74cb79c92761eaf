"""Operations in a hub: leases, cancellation, and estimates of the remaining time."""
