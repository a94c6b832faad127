backhaul run plam.yaml
