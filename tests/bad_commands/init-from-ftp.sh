backhaul init --from ftp://host/x --to new
