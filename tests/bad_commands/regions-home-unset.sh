unset HOME
backhaul backup-copy name 2128ab2e-72d1-5a71-bbc5-5f4d4b390407
