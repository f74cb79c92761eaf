"""`tidings contract …`: an application's contract, written for others and held against what there is."""
