backhaul verify --sample 0% plan.yaml
