backhaul verify --sample NaN% plan.yaml
