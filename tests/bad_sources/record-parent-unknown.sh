record 1 ',"parent_id":"20000000-0000-4000-8000-000000000002"'
wants '{ id: 20000000-0000-4000-8000-000000000001, from: here, to: [there] }'
backhaul -q run plan.yaml
