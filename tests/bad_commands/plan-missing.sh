backhaul run
