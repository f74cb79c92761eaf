"""Operations: states, transitions, and the tables and views made from their events. Pure: no clock and no I/O."""
