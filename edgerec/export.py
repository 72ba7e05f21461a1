from edgerec.target import *  # temporary
