backhaul init --from "" --to new
