"""What is known of public Earth Engine datasets: units, scales, classes, licences. Data, loaded when asked for."""
