backhaul run /dev/zero
