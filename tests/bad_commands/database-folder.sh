mkdir folder.db
backhaul run --database sqlite:folder.db plan.yaml
