"""Lists of users as Excel, Outlook, Active Directory and Google write them: bytes are read into records with lines."""
