"""The two papers' tables and figures, made with clusterpost: claims beside what is found, and the gallery."""
