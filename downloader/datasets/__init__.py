"""Facts of public Earth Engine datasets: units, scales, classes, licences. They are data, loaded on demand."""
