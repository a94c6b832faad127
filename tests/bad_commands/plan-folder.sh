backhaul run region-here
