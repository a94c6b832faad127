backhaul verify --depth deep plan.yaml
