"""A codec of the tests, as `backbeat codec serve` loads it."""

from backbeat.codecs import Fernet

codec = Fernet("xBmSRyvrzJcSfhKUt_M3-aSdiynrVXpsQZ4C8G7IgFs=")
