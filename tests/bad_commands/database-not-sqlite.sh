echo "no database, and longer than a header of one would be: 0123456789 0123456789 0123456789 0123456789 0123456789" > text.db
backhaul run --database sqlite:text.db plan.yaml
