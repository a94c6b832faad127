backhaul verify --sample 200% plan.yaml
